"""Robust averages: worked by hand, and what a hostile minority can do to each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from coordinator.errors import AggregationFailed
from coordinator.robust import combine, krum_scores, needed, squared_distances
from coordinator.rule_names import RULES, Rule

F64 = NDArray[np.float64]
SHARE = 0.2


def _honest(count: int, seed: int, size: int = 6) -> F64:
    return np.random.default_rng(seed).normal(1.0, 0.1, (count, size))


def test_the_median_and_the_trimmed_mean_are_as_worked_by_hand() -> None:
    updates = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 9.0], [100.0, 0.0], [-50.0, 1.0]])
    assert combine("median", updates, 0.2).update.tolist() == [2.0, 0.0]
    # Without the smallest and the largest: (1 + 2 + 3) / 3 and (0 + 0 + 1) / 3.
    assert combine("trimmed", updates, 0.2).update == pytest.approx([2.0, 1.0 / 3.0])


def test_krum_chooses_the_row_nearest_to_its_neighbours_as_worked_by_hand() -> None:
    updates = np.array([[0.0], [1.0], [3.0], [4.0], [50.0]])
    # n - f - 2 = 2 nearest: 0 → 1 + 9 = 10; 1 → 1 + 4 = 5; 3 → 1 + 4 = 5; 4 → 1 + 9 = 10; 50 → 46² + 47².
    assert krum_scores(squared_distances(updates), 1).tolist() == [10.0, 5.0, 5.0, 10.0, 46.0**2 + 47.0**2]
    done = combine("krum", updates, 0.2)
    assert (done.used, done.update.tolist()) == ((1,), [1.0])
    several = combine("multi-krum", updates, 0.2)
    assert (several.used, several.suspects, several.update.tolist()) == ((0, 1, 2, 3), (4,), [2.0])


def test_norms_are_bounded_by_their_median_as_worked_by_hand() -> None:
    # Norms 1, 2, 1000; the median is 2: (1 + 2 + 2) / 3.
    assert combine("norm-median", np.array([[1.0], [2.0], [1000.0]]), 0.2).update == pytest.approx([5.0 / 3.0])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("attack", [-1.0, -100.0, 1e6])
def test_a_fifth_of_hostile_devices_moves_no_rule_far_from_what_the_honest_ones_say(rule: Rule, attack: float) -> None:
    honest = _honest(24, 1)
    hostile = np.full((6, honest.shape[1]), attack)
    update = combine(rule, np.concatenate([honest, hostile]), SHARE).update
    # norm-median bounds what a hostile device can say and does not silence it.
    assert np.abs(update - 1.0).max() < (0.6 if rule == "norm-median" else 0.25)


@pytest.mark.parametrize("rule", ["krum", "multi-krum"])
def test_rules_that_choose_name_those_that_they_left_out(rule: Rule) -> None:
    updates = np.concatenate([_honest(24, 2), np.full((6, 6), -40.0)])
    assert set(range(24, 30)) <= set(combine(rule, updates, SHARE).suspects)


@given(rule=st.sampled_from(RULES), count=st.integers(7, 24), seed=st.integers(0, 2**32 - 1))
def test_no_rule_minds_the_order_of_the_devices_or_leaves_their_range(rule: Rule, count: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    updates = dice.normal(size=(count, 4))
    share = 0.14
    update = combine(rule, updates, share).update
    shuffled = combine(rule, updates[dice.permutation(count)], share).update
    if rule != "bulyan":  # among its last rows two that are each other's nearest have equal scores
        assert shuffled == pytest.approx(update, abs=1e-12)
    if rule != "norm-median":  # which shrinks towards zero
        assert (update >= updates.min(axis=0) - 1e-12).all()
        assert (update <= updates.max(axis=0) + 1e-12).all()


@given(rule=st.sampled_from(RULES), move=st.floats(-5.0, 5.0))
def test_devices_that_agree_are_believed(rule: Rule, move: float) -> None:
    assert combine(rule, np.full((11, 3), move), SHARE).update == pytest.approx(np.full(3, move))


@pytest.mark.parametrize("rule", RULES)
def test_too_few_reports_for_so_many_hostile_ones_are_refused(rule: Rule) -> None:
    enough = needed(rule, 3)
    assert enough >= 7
    with pytest.raises(AggregationFailed, match="hostile"):
        combine(rule, _honest(6, 3), 0.5)
    with pytest.raises(AggregationFailed):
        combine(rule, np.zeros((0, 3)), 0.2)


def test_what_is_not_finite_is_refused() -> None:
    updates = _honest(7, 4)
    updates[3, 2] = np.nan
    with pytest.raises(AggregationFailed, match="finite"):
        combine("median", updates, 0.1)
