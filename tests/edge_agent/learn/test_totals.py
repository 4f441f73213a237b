"""Sums of metrics: what is added is clipped, cells are bounded, and Kaplan-Meier agrees with what is known."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.learn.totals import BUCKETS, CELLS_MAX, Sums, mean_and_error, pack, restricted_mean, unpack
from firmware_configs.measured import MetricCell

GROUP = ("slot", "", "")


def sums() -> Sums:
    return Sums("d", 0, "value", 0.0, 10.0)


@given(st.lists(st.floats(-1e9, 1e9), max_size=30))
def test_what_one_decision_adds_lies_within_the_bounds(values: list[float]) -> None:
    found = sums()
    for value in values:
        assert 0.0 <= found.add(GROUP, value) <= 10.0
    cell = found.cell(GROUP)
    assert cell.n == sum(cell.buckets.values()) == len(values)
    assert all(0 <= at < BUCKETS for at in cell.buckets)
    assert unpack(pack(found)) == found


def test_cells_are_bounded_and_what_comes_beyond_is_added_to_the_rest() -> None:
    found = sums()
    for number in range(CELLS_MAX + 50):
        found.add(("slot", f"arm-{number}", ""), 1.0)
    assert len(found.cells) == CELLS_MAX
    assert sum(cell.n for cell in found.cells.values()) == CELLS_MAX + 50


def test_mean_and_error_of_a_few_numbers() -> None:
    cell = MetricCell(placement="slot", n=4, total=20.0, squares=120.0)  # 2, 4, 6, 8
    mean, error = mean_and_error(cell)
    assert (mean, error) == (5.0, pytest.approx((20.0 / 3.0 / 4.0) ** 0.5))


def test_without_censoring_the_restricted_mean_is_the_mean_of_bucket_middles() -> None:
    # Half in the fourth of 16 buckets of 1 s, half never within 16 s.
    assert restricted_mean({3: 5}, {BUCKETS - 1: 5}, 16.0) == pytest.approx((3.5 + 16.0) / 2.0)


def test_who_was_watched_for_a_part_does_not_count_as_never() -> None:
    # Ten leave in the middle of bucket 0 and say nothing more: of the ten others five convert in bucket 8.
    with_leavers = restricted_mean({8: 5}, {0: 10, BUCKETS - 1: 5}, 16.0)
    assert with_leavers == pytest.approx((8.5 + 16.0) / 2.0)


def test_nobody_at_all_takes_the_whole_window() -> None:
    assert restricted_mean({}, {}, 16.0) == 16.0


@given(
    st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(0, 50)),
    st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(0, 50)),
)
def test_a_restricted_mean_lies_within_the_window(events: dict[int, int], censored: dict[int, int]) -> None:
    assert 0.0 <= restricted_mean(events, censored, 60.0) <= 60.0 + 1e-9


@given(st.binary(max_size=60))
def test_any_bytes_are_sums_or_refused(raw: bytes) -> None:
    try:
        found = unpack(raw)
    except msgspec.MsgspecError:
        return
    assert unpack(pack(found)) == found
