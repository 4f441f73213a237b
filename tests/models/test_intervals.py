"""Intervals against textbook numbers, and that they hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import intervals


def test_wilson_gives_the_textbook_interval() -> None:
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662."""
    got = intervals.wilson(81, 263)
    assert (got.value, got.low, got.high) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_stays_within_0_and_1_and_holds_the_rate(first: int, second: int) -> None:
    hits, count = min(first, second), max(first, second)
    got = intervals.wilson(hits, count)
    assert 0.0 <= got.low <= got.value + 1e-12
    assert got.value - 1e-12 <= got.high <= 1.0


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    dice = np.random.default_rng(0)
    person = dice.normal(0.0, 1.0, 400)
    first, second = person + 0.1 + dice.normal(0, 0.05, 400), person + dice.normal(0, 0.05, 400)
    assert intervals.paired(first, second, seed=0).sure
    alone = [intervals.bootstrap(values, seed=0) for values in (first, second)]
    assert alone[0].low < alone[1].high, "each by itself cannot tell them apart"


def test_no_difference_is_not_called_one() -> None:
    dice = np.random.default_rng(1)
    assert not intervals.paired(dice.random(300), dice.random(300), seed=0).sure


def test_the_bootstrap_covers_the_mean_about_as_often_as_it_says() -> None:
    dice = np.random.default_rng(2)
    found = [intervals.bootstrap(dice.random(80), seed=n, samples=300) for n in range(200)]
    covered = np.mean([one.low <= 0.5 <= one.high for one in found])
    assert 0.88 <= covered <= 0.99


def test_the_gap_is_between_the_best_and_the_worst_group() -> None:
    values = np.array([1.0, 1.0, 0.0, 0.0, 0.5, 0.5])
    groups = {name: np.arange(6) // 2 == n for n, name in enumerate("abc")} | {"empty": np.zeros(6, bool)}
    assert intervals.subgroup_gap(values, groups, seed=0) == intervals.Estimate(value=1.0, low=1.0, high=1.0)
    assert intervals.subgroup_gap(values, {"all": np.ones(6, bool)}, seed=0).value == 0.0


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(3).random(3_000)
    assert intervals.bootstrap(values, seed=5) == intervals.bootstrap(values, seed=5)
