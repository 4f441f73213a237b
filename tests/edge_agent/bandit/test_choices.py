"""Choices: never outside eligibility, with probabilities that are exact and add up to one."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.decide.bandit.choice import NOTHING, Choice, ranked, sound
from edge_agent.decide.bandit.draw import pick, uniforms
from edge_agent.decide.bandit.learner import Learner, learner_of
from edge_agent.decide.bandit.slate import drawn, draws_needed
from firmware_configs import profile as p

F32 = NDArray[np.float32]
EXPLORING: list[p.Policy] = [
    p.EpsilonGreedy(epsilon=0.3),
    p.Thompson(prior_strength=4.0),
    p.ThompsonGaussian(prior_strength=4.0),
    p.LinUcb(epsilon=0.2),
    p.LinUcb(),
    p.LinThompson(spread=0.5),
    p.SquareCb(gamma=3.0),
]
POLICIES = [p.Best(), p.Threshold(minimum=0.4), *EXPLORING]
ANY = st.floats(width=32, allow_nan=True, allow_infinity=True) | st.floats(0, 1, width=32)
NUMBERS = st.floats(width=32, allow_nan=False) | st.floats(0, 1, width=32)
CONTEXT = np.array([0.5, -2.0, 30.0], np.float32)


def _name(policy: p.Policy) -> str:
    return repr(policy)


@cache
def _learned(policy: p.Policy, seed: int = 0) -> Learner:
    """A learner that has seen forty rewards of a few items; it learns nothing more."""
    learner, dice = learner_of(policy, len(CONTEXT)), np.random.default_rng(seed)
    for _ in range(40):
        item = f"i{int(dice.integers(4))}"
        context = dice.normal(size=len(CONTEXT)).astype(np.float32)
        learner.learn(item, float(dice.random() < 0.3), context, 0.4, 1_000)
    return learner


def _choose(
    policy: p.Policy, learner: Learner, scores: F32, eligible: NDArray[np.bool_], decision: str, slate: int = 1
) -> Choice:
    places = sound(scores, eligible)
    if not len(places):
        return NOTHING
    if isinstance(policy, p.Best | p.Threshold):
        return ranked(scores, places, slate, policy.minimum if isinstance(policy, p.Threshold) else -np.inf)
    items = [f"i{place}" for place in places]
    beliefs = learner.beliefs(items, CONTEXT, scores[places], scores[places].clip(0.0, 1.0))
    draw = uniforms(b"s" * 32, decision, draws_needed(policy, slate))
    return drawn(learner.vector, beliefs, scores, places, slate, draw)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(POLICIES), st.lists(ANY, min_size=1, max_size=7), st.data())
def test_no_candidate_outside_eligibility_or_without_a_score_is_ever_chosen(
    policy: p.Policy, scores: list[float], data: st.DataObject
) -> None:
    eligible = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    own = np.array(scores, np.float32)
    learner = _learned(policy)
    choice = _choose(policy, learner, own, eligible, data.draw(st.text(max_size=6)), slate=3)
    assert all(eligible[n] and not np.isnan(own[n]) for n in choice.order)
    assert len(set(choice.order)) == len(choice.order) == len(choice.propensities)
    assert all(0.0 < one <= 1.0 for one in choice.propensities)
    assert choice.order or choice.propensity == 0.0


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EXPLORING), st.lists(NUMBERS, min_size=1, max_size=30), st.integers(0, 9))
def test_the_probabilities_of_all_candidates_add_up_to_one(policy: p.Policy, scores: list[float], seed: int) -> None:
    items = [f"i{n}" for n in range(len(scores))]
    own = np.array(scores, np.float32)
    learner = _learned(policy, seed)
    vector = learner.vector(learner.beliefs(items, CONTEXT, own, own.clip(0.0, 1.0)))
    assert vector.min() >= 0.0
    assert vector.sum() == pytest.approx(1.0, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(EXPLORING),
    st.lists(st.floats(0.0, 1.0, width=16), min_size=2, max_size=9, unique=True),
    st.randoms(use_true_random=False),
)
def test_the_order_of_candidates_does_not_matter(policy: p.Policy, scores: list[float], dice: object) -> None:
    items = [f"i{n}" for n in range(len(scores))]
    own = np.array(scores, np.float32)
    learner = _learned(policy)
    index = list(range(len(items)))
    dice.shuffle(index)  # type: ignore[attr-defined]
    turned = [items[n] for n in index]
    one = learner.vector(learner.beliefs(items, CONTEXT, own, own))
    other = learner.vector(learner.beliefs(turned, CONTEXT, own[index], own[index]))
    assert other == pytest.approx(one[index], abs=1e-6)


@pytest.mark.parametrize("policy", EXPLORING, ids=_name)
def test_logged_propensities_are_what_happens(policy: p.Policy) -> None:
    scores, trials = np.array([0.2, 0.55, 0.5, 0.1], np.float32), 4_000
    learner = _learned(policy)
    seen: Counter[int] = Counter()
    logged: dict[int, float] = {}
    for n in range(trials):
        choice = _choose(policy, learner, scores, np.array([True, True, True, False]), f"d{n}")
        seen[choice.order[0]] += 1
        logged[choice.order[0]] = choice.propensity
    assert sum(logged.values()) == pytest.approx(1.0, abs=0.01)  # what is rare may not have come
    for arm, propensity in logged.items():
        error = 4.5 * (propensity * (1 - propensity) / trials) ** 0.5
        assert seen[arm] / trials == pytest.approx(propensity, abs=error + 1e-12)


@pytest.mark.parametrize("policy", [p.EpsilonGreedy(epsilon=0.5), p.SquareCb(gamma=2.0), p.LinThompson(spread=2.0)])
def test_the_product_of_position_propensities_is_the_probability_of_the_slate(policy: p.Policy) -> None:
    scores, trials = np.array([0.3, 0.6, 0.4], np.float32), 5_000
    learner = _learned(policy)
    seen: Counter[tuple[int, ...]] = Counter()
    logged: dict[tuple[int, ...], float] = {}
    for n in range(trials):
        choice = _choose(policy, learner, scores, np.ones(3, np.bool_), f"d{n}", slate=2)
        seen[tuple(choice.order)] += 1
        logged[tuple(choice.order)] = float(np.prod(choice.propensities))
    assert sum(logged.values()) == pytest.approx(1.0, abs=1e-2)
    for slate, propensity in logged.items():
        error = 4.5 * (propensity * (1 - propensity) / trials) ** 0.5
        assert seen[slate] / trials == pytest.approx(propensity, abs=error)


def test_what_has_no_probability_is_never_drawn() -> None:
    vector = np.array([0.0, 0.25, 0.0, 0.75, 0.0])
    assert {pick(vector, u) for u in (0.0, 0.2, 0.2499, 0.25, 0.9, 1.0 - 2.0**-53)} == {1, 3}


def test_a_replay_draws_the_same_and_another_decision_draws_otherwise() -> None:
    one, same, other = (uniforms(b"k" * 32, d, 50) for d in ("x", "x", "y"))
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()
    many = uniforms(b"k" * 32, "z", 20_000)
    assert 0.0 <= many.min() < many.max() < 1.0
    assert many.mean() == pytest.approx(0.5, abs=0.01)


def test_a_threshold_that_nothing_reaches_chooses_nothing() -> None:
    scores = np.array([0.1, 0.2], np.float32)
    assert ranked(scores, np.arange(2), 1, 0.9).order == []


def test_the_best_slate_is_in_order_of_score_and_nan_is_left_out() -> None:
    scores = np.array([0.1, 0.9, np.nan, 0.5, 0.7], np.float32)
    assert ranked(scores, sound(scores, None), 3).order == [1, 4, 3]
