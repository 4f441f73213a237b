"""Times by bucket: bounded, mergeable, and quantiles that are at most a bucket too high."""

import math

from hypothesis import given
from hypothesis import strategies as st

from firmware_configs.histogram import BOUNDS_MS, bucket_of, merged, quantile, told

TIMES = st.lists(st.floats(0.07, 8e9), max_size=60)


def _buckets(times: list[float]) -> dict[int, int]:
    found: dict[int, int] = {}
    for ms in times:
        found[bucket_of(ms)] = found.get(bucket_of(ms), 0) + 1
    return found


@given(TIMES.filter(bool), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_at_most_a_bucket_too_high(times: list[float], share: float) -> None:
    exact = sorted(times)[math.ceil(share * len(times)) - 1]
    assert exact <= quantile(_buckets(times), share) * (1 + 1e-12)
    assert quantile(_buckets(times), share) <= exact * 2 ** (1 / 4) * (1 + 1e-12)


@given(TIMES, TIMES)
def test_two_merged_are_one_of_both(first: list[float], second: list[float]) -> None:
    assert merged(told(_buckets(first)), told(_buckets(second))) == told(_buckets([*first, *second]))


@given(st.floats(allow_nan=False, allow_infinity=True))
def test_any_time_has_a_bucket(ms: float) -> None:
    assert 0 <= bucket_of(ms) < len(BOUNDS_MS)


def test_without_times_there_is_nothing_to_tell() -> None:
    assert (told({}).count, told({}).p50_ms, told({}).buckets) == (0, 0.0, {})
