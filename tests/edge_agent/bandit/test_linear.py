"""Regressions: rank-one updates stay what a fresh solution gives, statistics add up, and packing changes no bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide.bandit.forgetting import Clock, Forgetting
from edge_agent.decide.bandit.learner import learner_of
from edge_agent.decide.bandit.linear import Arms
from edge_agent.decide.bandit.scale import FARTHEST, Scale
from edge_agent.limits import REFACTOR_EVERY, SCALE_SEEN_MAX
from firmware_configs.profile import LinThompson, LinUcb, SquareCb
from models.ridge import Statistics, faded, inverse, merge, nothing

D = 6


def _arms(forgetting: Forgetting | None = None, ridge: float = 0.3) -> Arms:
    return Arms(D, ridge, forgetting or Forgetting(), lambda _item: None, lambda _item: None, D - 2)


def _lesson(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    rows = dice.normal(size=(count, D)) * dice.uniform(0.1, 2.0, D)
    return rows, dice.random(count)


def test_the_estimate_is_the_ridge_regression_about_the_models_score() -> None:
    arms, (rows, rewards) = _arms(), _lesson(1, 50)
    for n, (row, reward) in enumerate(zip(rows, rewards, strict=True)):
        arms.learn("x", row, reward, Clock(float(n + 1), n))
    prior = np.eye(D)[D - 2]
    theta = np.linalg.solve(rows.T @ rows + 0.3 * np.eye(D), rows.T @ rewards + 0.3 * prior)
    ask = np.random.default_rng(2).normal(size=(1, D))
    mean, deviation = arms.beliefs(("x",), ask, Clock(50.0, 50))
    assert mean[0] == pytest.approx(float(ask[0] @ theta), abs=1e-9)
    assert deviation[0] ** 2 == pytest.approx(
        float(ask[0] @ np.linalg.inv(rows.T @ rows + 0.3 * np.eye(D)) @ ask[0]), abs=1e-9
    )


def test_thousands_of_updates_do_not_drift() -> None:
    arms, (rows, rewards) = _arms(ridge=0.01), _lesson(3, 3 * REFACTOR_EVERY - 1)
    rows[:, 0] = rows[:, 1] * (1.0 + 1e-4 * rows[:, 2])  # nearly the same feature twice
    for n, (row, reward) in enumerate(zip(rows, rewards, strict=True)):
        arms.learn("x", row, reward, Clock(float(n + 1), n))
        if n % 500 == 0:
            assert (arms.inverse[0] == arms.inverse[0].T).all()
    fresh = inverse(arms.moments[0], 0.01)
    assert np.abs(arms.inverse[0] - fresh).max() / np.abs(fresh).max() < 1e-7


def test_what_is_forgotten_weighs_by_half_lives_and_the_ridge_stays() -> None:
    arms, (rows, rewards) = _arms(Forgetting(half_life_rewards=10.0)), _lesson(4, 40)
    for n, (row, reward) in enumerate(zip(rows, rewards, strict=True)):
        arms.learn("x", row, reward, Clock(float(n + 1), n))
    weights = 2.0 ** -((39 - np.arange(40)) / 10.0)
    moments = (rows * weights[:, None]).T @ rows
    assert arms.moments[0] == pytest.approx(moments)
    assert arms.inverse[0] == pytest.approx(np.linalg.inv(moments + 0.3 * np.eye(D)))
    assert arms.weight[0] == pytest.approx(weights.sum())


def test_an_item_that_is_not_chosen_becomes_uncertain_again_but_never_more_than_before_its_first() -> None:
    arms, (rows, rewards) = _arms(Forgetting(half_life_rewards=10.0)), _lesson(5, 20)
    for n, (row, reward) in enumerate(zip(rows, rewards, strict=True)):
        arms.learn("x", row, reward, Clock(float(n + 1), n))
    ask = np.ones((1, D))
    told = [float(arms.beliefs(("x",), ask, Clock(20.0 + later, 20))[1][0]) for later in (0, 10, 40, 10_000)]
    assert told == sorted(told)
    assert told[1] == pytest.approx(told[0] * 2**0.5)
    assert told[3] == pytest.approx((D / 0.3) ** 0.5)


def test_a_leap_of_the_clock_costs_at_most_one_half_life() -> None:
    forgetting = Forgetting(half_life_s=3_600.0)
    assert forgetting.factor(Clock(5.0, 10**15), 5.0, 1) == 0.5
    assert forgetting.factor(Clock(5.0, 1), 5.0, 10**15) == 1.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1_000), st.integers(0, 60))
def test_packing_and_taking_up_again_changes_no_bit(seed: int, count: int) -> None:
    dice = np.random.default_rng(seed)
    policy = [LinUcb(), LinThompson(half_life_rewards=20.0), SquareCb()][seed % 3]
    stored: dict[str, bytes] = {}
    learner = learner_of(policy, 4, stored.get)
    for n in range(count):
        context = dice.normal(size=4).astype(np.float32) * 100.0
        for key in learner.learn("ab"[n % 2], dice.random(), context, 0.3, 1_000 * n):
            stored[key] = learner.pack(key)
    again = learner_of(policy, 4, stored.get)
    ask, own = dice.normal(size=4).astype(np.float32), np.array([0.2, 0.4, 0.1], np.float32)
    one, other = (held.beliefs(("a", "b", "c"), ask, own, own) for held in (learner, again))
    assert one.mean.tobytes() == other.mean.tobytes()
    assert one.deviation.tobytes() == other.deviation.tobytes()
    assert learner.vector(one).tobytes() == again.vector(other).tobytes()


def test_what_was_learned_under_other_features_is_not_taken_up() -> None:
    stored: dict[str, bytes] = {}
    learner = learner_of(SquareCb(), 2, stored.get, signature=1)
    for key in learner.learn("a", 1.0, np.ones(2, np.float32), 0.0, 1):
        stored[key] = learner.pack(key)
    own = np.zeros(1, np.float32)
    for width, signature in ((2, 7), (3, 8)):
        other = learner_of(SquareCb(), width, stored.get, signature=signature)
        assert other.beliefs(("a",), np.ones(width, np.float32), own, own).mean[0] == 0.0


def _statistics(seed: int) -> Statistics:
    rows, rewards = _lesson(seed, 1 + seed % 7)
    return Statistics(rows.T @ rows, rows.T @ rewards, float(len(rows)))


def _close(one: Statistics, other: Statistics) -> None:
    assert one.moments == pytest.approx(other.moments)
    assert one.targets == pytest.approx(other.targets)
    assert one.weight == pytest.approx(other.weight)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=3, max_size=8), st.floats(0.0, 1.0), st.integers(1, 7))
def test_statistics_add_up_in_any_order_and_grouping_also_faded(seeds: list[int], factor: float, cut: int) -> None:
    parts = [_statistics(seed) for seed in seeds]
    whole = merge(parts, D)
    _close(merge([merge(parts[:cut], D), merge(parts[cut:], D)], D), whole)
    _close(merge(parts[::-1], D), whole)
    _close(merge([nothing(D), *parts], D), whole)
    _close(faded(whole, factor), merge([faded(part, factor) for part in parts], D))


def test_two_devices_together_know_what_one_with_all_rewards_knows() -> None:
    rows, rewards = _lesson(9, 60)
    alone, first, second = _arms(), _arms(), _arms()
    for n, (row, reward) in enumerate(zip(rows, rewards, strict=True)):
        clock = Clock(float(n + 1), n)
        alone.learn("x", row, reward, clock)
        (first if n % 3 else second).learn("x", row, reward, clock)
    now = Clock(60.0, 60)
    together = merge([first.statistics("x", now), second.statistics("x", now)], D)
    _close(together, alone.statistics("x", now))
    started = Arms(D, 0.3, Forgetting(), lambda _item: None, lambda _item: together, D - 2)
    ask = np.ones((1, D))
    assert started.beliefs(("x",), ask, now)[0] == pytest.approx(alone.beliefs(("x",), ask, now)[0])
    with pytest.raises(ValueError, match="width 3"):
        merge([nothing(3)], D)


def test_the_scale_is_bounded_and_comes_to_rest() -> None:
    scale, dice = Scale(3), np.random.default_rng(0)
    for _ in range(SCALE_SEEN_MAX):
        scale.take(dice.normal(size=3) * [1.0, 50.0, 0.0] + [0.0, 7.0, 4.0])
    wild = scale.standardised(np.array([1e30, -1e30, 4.0]))
    assert wild.tolist() == pytest.approx([FARTHEST / 3**0.5, -FARTHEST / 3**0.5, 0.0])
    before = scale.mean.copy()
    scale.take(np.array([1e9, 1e9, 1e9]))
    assert scale.mean.tolist() == before.tolist()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_no_number_counts_as_zero(wrong: float) -> None:
    learner = learner_of(SquareCb(), 2)
    for n in range(20):
        learner.learn("a", 0.5, np.array([wrong if n % 3 else 1.0, n], np.float32), 0.1, n)
    own = np.zeros(1, np.float32)
    found = learner.beliefs(("a",), np.array([wrong, 1.0], np.float32), own, own)
    assert np.isfinite(found.mean).all()
    assert np.isfinite(found.deviation).all()


def test_many_items_are_let_go_and_come_back_the_same() -> None:
    stored: dict[str, bytes] = {}
    learner = learner_of(LinUcb(), 120, stored.get)
    context, own = np.linspace(-1, 1, 120).astype(np.float32), np.full(70, 0.2, np.float32)
    items = [f"i{n}" for n in range(70)]
    for n, item in enumerate(items):
        for key in learner.learn(item, float(n % 2), context * n, 0.2, n):
            stored[key] = learner.pack(key)
    before = learner.beliefs(items, context, own, own)
    learner.trim()
    after = learner.beliefs(items, context, own, own)
    assert before.mean.tobytes() == after.mean.tobytes()
    assert before.deviation.tobytes() == after.deviation.tobytes()
