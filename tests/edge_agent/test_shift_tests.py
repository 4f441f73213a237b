"""The four tests alone: how often they alarm for nothing, how soon for something, and that they survive a restart."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from edge_agent.shift_tests import (
    Adwin,
    KolmogorovSmirnov,
    PageHinkley,
    Psi,
    ShiftTest,
    chi_square,
    sum_limit,
)

BETWEEN, REFERENCE, WINDOW = 4_000, 1_000, 200
MAKERS: dict[str, Callable[[int], ShiftTest]] = {
    "psi": lambda between: Psi(between, REFERENCE, WINDOW),
    "ks": lambda between: KolmogorovSmirnov(between, REFERENCE, WINDOW),
    "page-hinkley": lambda between: PageHinkley(between, REFERENCE),
    "adwin": lambda between: Adwin(between, REFERENCE),
}
each_test = pytest.mark.parametrize("name", MAKERS)


def _alarms(test: ShiftTest, values: list[float]) -> list[int]:
    """Where an alarm begins."""
    found, was = [], False
    for n, value in enumerate(values):
        test.add(value)
        now = test.shift is not None
        if now and not was:
            found.append(n)
        was = now
    return found


@each_test
def test_false_alarms_are_no_more_frequent_than_was_asked_for(name: str) -> None:
    # Four streams of 20,000 values: 20 alarms are what 4,000 values between two of them would give.
    draw = np.random.default_rng(5)
    alarms = [len(_alarms(MAKERS[name](BETWEEN), draw.normal(20, 3, 20_000).tolist())) for _ in range(4)]
    assert sum(alarms) <= 26


@each_test
def test_a_shift_of_one_standard_deviation_is_found_within_a_window_and_a_half(name: str) -> None:
    draw = np.random.default_rng(7)
    test = MAKERS[name](1_000_000)
    values = [float(draw.normal(20 if n < 3_000 else 23, 3)) for n in range(3_300)]
    (found,) = _alarms(test, values)
    assert 3_000 <= found < 3_300
    assert test.shift is None or test.shift.value >= test.shift.threshold


@pytest.mark.parametrize("name", ["psi", "ks"])
def test_a_distribution_that_widens_about_the_same_mean_is_found(name: str) -> None:
    draw = np.random.default_rng(8)
    values = [float(draw.normal(0, 1 if n < 3_000 else 3)) for n in range(3_400)]
    assert _alarms(MAKERS[name](1_000_000), values)


@each_test
def test_values_that_never_change_alarm_nobody_and_the_first_other_ones_do(name: str) -> None:
    test = MAKERS[name](1_000_000)
    assert _alarms(test, [21.0] * 3_000) == []
    if name in ("page-hinkley", "adwin"):
        assert _alarms(test, [24.0] * 400)


@each_test
def test_a_stored_test_goes_on_as_if_nothing_had_happened(name: str) -> None:
    draw = np.random.default_rng(9)
    values = [float(draw.normal(20 if n < 3_000 else 22, 3)) for n in range(5_000)]
    through, stopped = MAKERS[name](BETWEEN), MAKERS[name](BETWEEN)
    for value in values[:2_500]:
        through.add(value)
        stopped.add(value)
    again = MAKERS[name](BETWEEN)
    again.restore(stopped.pack())
    assert _alarms(again, values[2_500:]) == _alarms(through, values[2_500:])
    assert again.pack() == through.pack()


@each_test
def test_memory_does_not_grow_with_the_values(name: str) -> None:
    draw, test, sizes = np.random.default_rng(3), MAKERS[name](10**9), []
    for n in range(40_000):
        test.add(draw.random())
        if n in (19_999, 39_999):
            sizes.append(len(test.pack()))
    assert sizes[1] <= sizes[0] + 150
    assert sizes[1] < 2_500


@each_test
@given(packed=st.binary(max_size=80))
def test_bytes_that_are_no_state_are_refused_or_taken_and_never_break_a_test(name: str, packed: bytes) -> None:
    test = MAKERS[name](BETWEEN)
    try:
        test.restore(packed)
    except msgspec.MsgspecError:
        test = MAKERS[name](BETWEEN)
    test.add(1.0)


@pytest.mark.parametrize("degrees", [3, 9, 31])
@pytest.mark.parametrize("level", [0.95, 0.999, 0.9998])
def test_quantiles_of_chi_square_are_scipys_or_up_to_three_in_a_hundred_above(degrees: int, level: float) -> None:
    exact = float(chi2.ppf(level, degrees))
    assert 0.99 * exact <= chi_square(level, degrees) <= 1.03 * exact


def test_the_limit_of_a_sum_gives_the_time_between_false_alarms_that_was_asked_for() -> None:
    draw, lengths = np.random.default_rng(4), []
    limit = sum_limit(500.0, 0.25)
    for _ in range(300):
        total, n = 0.0, 0
        while total < limit:
            total, n = max(0.0, total + float(draw.normal()) - 0.25), n + 1
        lengths.append(n)
    assert sum(lengths) / len(lengths) == pytest.approx(500, rel=0.2)
