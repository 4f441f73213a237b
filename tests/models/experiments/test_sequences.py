"""Intervals hold at every look, on small seeded versions of the benchmark, and agree with numbers by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.experiments import discoveries, mismatch, sequences
from tests.benchmarks import experiments as benchmark


def test_peeking_at_every_person_claims_a_false_difference_at_most_as_often_as_stated() -> None:
    found = benchmark.false_positives(tests=300, people=600, seed=1, exact_every=60)
    for kind, shares in found.items():
        assert shares["mixture"] <= 0.05, kind
        assert shares["bounded"] <= 0.05, kind
    assert found["click 50 %"]["fixed_size_test_peeked_at"] > 0.1, "the test has power to see what peeking does"


def test_a_real_difference_is_found_and_in_the_right_direction() -> None:
    found = benchmark.power(tests=50, seed=2, base=0.10, other=0.20)
    assert found["mixture_80"] < 2.5 * found["fixed_size_80"]
    assert found["wrong_direction"] == 0.0


def test_a_split_of_48_to_52_is_noticed_by_20_000_people_and_an_even_one_is_not_called_uneven() -> None:
    found = benchmark.ratio_alarm(tests=400, people=20_000, seed=3)
    assert found["caught_48_52"] >= 0.97
    assert found["false_alarms_50_50"] <= mismatch.ALPHA


def test_most_claims_among_many_are_right_even_when_stopped_greedily() -> None:
    found = benchmark.discovery_rate(tests=200, seed=4)
    assert found["false_share"] <= 0.05
    assert found["found_share"] >= 0.8


def test_what_was_known_before_finds_more_and_claims_no_more_falsely() -> None:
    found = benchmark.covariate(tests=40, seed=6)
    assert found["false_with_cuped"] <= 0.05
    assert found["found_with_cuped"] > found["found_without"] + 0.1


def test_shares_that_move_by_themselves_seldom_move_without_an_effect_and_never_the_wrong_way_with_one() -> None:
    assert benchmark.adaptive(tests=60, seed=5, lifts=(0.0, 0.0, 0.0))["moved"] <= 0.05
    found = benchmark.adaptive(tests=15, seed=5, lifts=(0.0, 0.08, -0.08))
    assert found["moved"] >= 0.9
    assert found["wrong"] == 0.0
    assert found["in_best_arm"] > 0.4


def test_the_margin_is_the_paper_s() -> None:
    """n = 100, σ² = 4, ρ² = 0.05, α = 0.05: 2 · sqrt(2 · 6 / (100 · 5) · ln(sqrt(6) / 0.05))."""
    margin = sequences.margin(np.array(100.0), np.array(4.0), 0.05, 0.05)
    assert float(margin) == pytest.approx(2.0 * math.sqrt(0.024 * math.log(math.sqrt(6.0) / 0.05)))


@settings(max_examples=100, deadline=None)
@given(st.floats(2.0, 1e6), st.floats(-0.5, 0.5), st.floats(1e-4, 1.0), st.floats(1e-5, 1.0))
def test_zero_is_left_out_just_when_the_evidence_reaches_one_in_alpha(
    people: float, mean: float, variance: float, rho2: float
) -> None:
    margin = float(sequences.margin(np.array(people), np.array(variance), rho2, 0.05))
    evidence = float(sequences.log_evidence(np.array(people), np.array(mean), np.array(variance), rho2))
    if abs(abs(mean) - margin) > 1e-9:
        assert (abs(mean) > margin) == (evidence > math.log(20.0))


def test_the_exact_bounds_are_narrow_where_values_are_and_never_leave_the_unit_interval() -> None:
    people = np.array([1.0, 10.0, 1_000.0, 100_000.0])
    low, high = sequences.bounded(people, 0.02 * people, 0.02 * people, 0.05, 0.0)
    assert (low >= 0.0).all()
    assert (high <= 1.0).all()
    assert (np.diff(high - low) <= 0.0).all()
    assert low[-1] < 0.02 < high[-1] < 0.025


def test_a_guard_halts_on_early_harm_and_only_on_harm() -> None:
    """Errors of 2 % against 40 %: known by 60 calls of each; 2 % against 2 %: never, however often one looks."""
    low, _ = sequences.bounded_difference((60.0, 1.0, 1.0), (60.0, 24.0, 24.0), 0.05, 0.0)
    assert low > 0.0
    dice = np.random.default_rng(7)
    halted = 0
    for _ in range(25):
        sides = (dice.random((2, 400)) < 0.02).cumsum(axis=1)
        halted += any(
            sequences.bounded_difference((n, s, s), (n, t, t), 0.05, 0.0)[0] > 0.0
            for n, s, t in zip(range(20, 401, 20), sides[0, 19::20], sides[1, 19::20], strict=True)
        )
    assert halted == 0
    assert sequences.bounded_difference((0.0, 0.0, 0.0), (9.0, 1.0, 1.0), 0.05) == (-1.0, 1.0)


def test_people_where_nobody_may_be_are_a_mismatch_at_once() -> None:
    assert math.isinf(float(mismatch.log_evidence(np.array([50.0, 1.0]), [1.0, 0.0])))


def test_benjamini_and_hochberg_s_own_example() -> None:
    """The fifteen p-values of their paper's table: at 5 % the first four are claimed."""
    values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    claimed = discoveries.by_chance([*values, 0.7590, 1.0000], 0.05)
    assert claimed.tolist() == [True] * 4 + [False] * 11


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-5.0, 20.0), min_size=1, max_size=12))
def test_claims_by_evidence_are_the_largest_and_a_claim_alone_needs_the_bonferroni_bound(found: list[float]) -> None:
    claimed = discoveries.by_evidence(found, 0.05)
    chosen = [value for value, ok in zip(found, claimed, strict=True) if ok]
    others = [value for value, ok in zip(found, claimed, strict=True) if not ok]
    assert not chosen or not others or min(chosen) >= max(others)
    assert all(value >= math.log(len(found) / (0.05 * len(chosen))) - 1e-9 for value in chosen)
