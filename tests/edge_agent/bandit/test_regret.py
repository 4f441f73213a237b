"""What policies are for: on simple problems they do better than chance, follow a change, and stay within limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.decide.bandit.budget import Budget
from edge_agent.decide.bandit.draw import pick
from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.decide.bandit.learner import Alone
from edge_agent.decide.bandit.restraint import Restraint
from edge_agent.decide.bandit.slate import drawn
from firmware_configs import profile as p

F64 = NDArray[np.float64]
ITEMS = ("a", "b", "c", "d")
BY_ITEM = [p.Thompson(prior_strength=1.0), p.ThompsonGaussian(prior_strength=1.0)]
BY_FEATURES: list[p.Policy] = [p.LinUcb(), p.LinThompson(), p.SquareCb(), p.SquareCb(optimism=0.0, gamma=20.0)]


def _name(policy: p.Policy) -> str:
    return repr(policy)


@pytest.mark.parametrize("policy", [*BY_ITEM, *BY_FEATURES], ids=_name)
def test_the_best_of_several_items_is_found(policy: p.Policy) -> None:
    rates, dice, alone = np.array([0.2, 0.7, 0.3, 0.4]), np.random.default_rng(4), Alone(policy)
    earned = 0.0
    for _ in range(600):
        at = pick(alone.probabilities(ITEMS), dice.random())
        reward = float(dice.random() < rates[at])
        alone.learn(ITEMS[at], reward)
        earned += rates[at]
    assert earned / 600 > rates.mean() + 0.15


@pytest.mark.parametrize("policy", BY_FEATURES, ids=_name)
def test_the_best_item_of_each_context_is_found(policy: p.Policy) -> None:
    dice, alone = np.random.default_rng(7), Alone(policy, 5)
    weights = dice.normal(size=(4, 5))
    earned = chance = 0.0
    for _ in range(800):
        context = dice.normal(size=5).astype(np.float32)
        worth = 1.0 / (1.0 + np.exp(-weights @ context))
        at = pick(alone.probabilities(ITEMS, context), dice.random())
        alone.learn(ITEMS[at], float(dice.random() < worth[at]), context)
        earned, chance, best = earned + worth[at], chance + worth.mean(), worth.max()
        assert worth[at] <= best
    assert earned / 800 > chance / 800 + 0.15


@pytest.mark.parametrize(
    "policy",
    [p.EpsilonGreedy(epsilon=0.1), p.Thompson(), p.LinUcb(), p.LinThompson(), p.SquareCb()],
    ids=_name,
)
def test_before_any_reward_the_models_score_leads(policy: p.Policy) -> None:
    scores = np.array([0.1, 0.2, 0.9, 0.3], np.float32)
    found = Alone(policy).probabilities(ITEMS, scores=scores)
    assert int(found.argmax()) == 2


@pytest.mark.parametrize(
    ("forgets", "remembers"),
    [
        (p.Thompson(half_life_rewards=60.0, prior_strength=1.0), p.Thompson(prior_strength=1.0)),
        (p.ThompsonGaussian(half_life_s=60.0, prior_strength=1.0), p.ThompsonGaussian(prior_strength=1.0)),
        (p.SquareCb(half_life_rewards=60.0), p.SquareCb()),
        (p.LinUcb(alpha=0.6, half_life_s=60.0), p.LinUcb(alpha=0.6)),
        (p.LinThompson(spread=0.5, half_life_rewards=60.0), p.LinThompson(spread=0.5)),
    ],
    ids=_name,
)
def test_a_policy_that_forgets_follows_a_change_sooner(forgets: p.Policy, remembers: p.Policy) -> None:
    """One reward a second; at half time the best item gets worse and another one better."""

    def late(policy: p.Policy, seed: int) -> float:
        dice, alone, right = np.random.default_rng(seed), Alone(policy), 0
        for n in range(1_000):
            rates = (0.8, 0.4, 0.4, 0.4) if n < 500 else (0.4, 0.4, 0.4, 0.9)
            at = pick(alone.probabilities(ITEMS), dice.random())
            alone.learn(ITEMS[at], float(dice.random() < rates[at]), now_ms=1_000 * n + 1)
            right += at == 3 and n >= 600
        return right / 400

    assert late(forgets, 0) + late(forgets, 1) > max(1.2, late(remembers, 0) + late(remembers, 1))


MEANS = st.lists(st.floats(-0.5, 1.5), min_size=2, max_size=6)


@settings(max_examples=200, deadline=None)
@given(MEANS, st.data())
def test_limits_keep_vectors_probabilities_and_what_they_promise(means: list[float], data: st.DataObject) -> None:
    count = len(means)
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1.0), min_size=count, max_size=count)))
    deviations = np.array(data.draw(st.lists(st.floats(0.0, 0.5), min_size=count, max_size=count)))
    beliefs = Estimates(np.array(means), deviations)
    said = p.Exploration(
        floor=data.draw(st.sampled_from([0.0, 0.5, 0.9])),
        baseline=data.draw(st.sampled_from([0.0, 0.8, 0.95])),
        loss_per_day=data.draw(st.sampled_from([None, 0.0, 0.3])),
    )
    budget = Budget()
    budget.open(86_400_000)
    baseline_at, best = data.draw(st.integers(0, count - 1)), int(np.argmax(means))
    vector, held = Restraint(said, budget).bound(weights / weights.sum(), beliefs, baseline_at)
    assert vector.sum() == pytest.approx(1.0, abs=1e-9)
    assert vector.min() >= -1e-12
    lower = beliefs.mean - said.confidence * deviations
    for at in range(count):
        if at != best and said.floor and lower[at] < said.floor * means[best]:
            assert vector[at] == 0.0
    if said.baseline and means[best] >= said.baseline * means[baseline_at]:
        assert vector @ beliefs.mean >= said.baseline * means[baseline_at] - 1e-9
    if said.loss_per_day is not None:
        assert vector @ (means[best] - beliefs.mean) <= said.loss_per_day + 1e-9
    assert held == "" or vector != pytest.approx(weights / weights.sum())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=7), st.sampled_from([0.1, 0.5, 0.99]), st.floats(0.0, 0.999))
def test_what_a_limit_leaves_is_a_probability_to_the_last_bit(means: list[float], floor: float, uniform: float) -> None:
    budget, scores = Budget(), np.array(means, np.float32)
    budget.open(86_400_000)
    beliefs = Estimates(np.array(means), np.zeros(len(means)))
    dice = np.random.default_rng(len(means))

    def vector(own: Estimates) -> F64:
        weights = dice.random(len(own.mean)) + 1e-3
        return weights / weights.sum()

    restraint = Restraint(p.Exploration(floor=floor, baseline=0.9), budget)
    draw = np.full(3, uniform)
    choice = drawn(vector, beliefs, scores, np.arange(len(means)), 3, draw, restraint)
    assert all(0.0 < one <= 1.0 for one in choice.propensities)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40_000_000), st.booleans()), min_size=1, max_size=60))
def test_a_budget_is_never_passed_whatever_comes(steps: list[tuple[float, int, bool]]) -> None:
    said = p.Exploration(share_per_day=0.25, decisions_per_day=6, loss_per_day=1.0)
    beliefs = Estimates(np.array([0.9, 0.5, 0.1]), np.zeros(3))
    budget, now = Budget(), 86_400_000
    days: dict[int, list[tuple[bool, float]]] = {}
    for uniform, wait, restart in steps:
        now += wait
        if restart:
            budget = Budget(budget.pack())
        budget.open(now)
        choice = drawn(
            lambda own: np.full(len(own.mean), 1 / len(own.mean)),
            beliefs,
            np.array([0.2, 0.9, 0.1], np.float32),
            np.arange(3),
            2,
            np.array([uniform, 1.0 - uniform]) % 1.0,
            Restraint(said, budget),
        )
        budget.take(explored=choice.explored, loss=choice.loss)
        days.setdefault(now // 86_400_000, []).append((choice.explored, choice.loss))
    for made in days.values():
        for n in range(1, len(made) + 1):
            assert sum(explored for explored, _ in made[:n]) <= min(6, 0.25 * n)
            assert sum(loss for _, loss in made[:n]) <= 1.0 + 1e-9


def test_a_clock_that_goes_back_opens_no_new_day() -> None:
    budget = Budget()
    budget.open(10 * 86_400_000)
    budget.take(explored=True, loss=0.5)
    budget.open(9 * 86_400_000)
    assert (budget.explored, budget.loss) == (1, 0.5)
    budget.open(11 * 86_400_000)
    assert (budget.explored, budget.loss) == (0, 0.0)
