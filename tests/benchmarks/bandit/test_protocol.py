"""The benchmark's protocol: nobody sees what is to come, both sides draw with the same numbers, values add up."""

from typing import Any

import numpy as np
import pytest

from models.offpolicy.confidence import Confidence
from tests.benchmarks.bandit import obd
from tests.benchmarks.bandit.conversion import REPORTED, TUNING, drawn, measured, play, tuned
from tests.benchmarks.bandit.sets import ClassSet
from tests.benchmarks.bandit.sides import F64, Setting

TOY = ClassSet(name="toy", x=np.eye(3)[np.arange(60) % 3], y=np.arange(60) % 3, source="here")


class Watcher:
    """Remembers what it was asked and told, and prefers the action that it was told earned most."""

    def __init__(self, actions: int) -> None:
        self.told: list[tuple[int, float, float]] = []
        self.asked: list[int] = []
        self.sums = np.ones(actions)

    def prepare(self, x: F64) -> F64:
        return x

    def distribution(self, context: Any) -> F64:
        del context
        self.asked.append(len(self.told))
        return np.asarray(self.sums / self.sums.sum(), np.float64)

    def learn(self, context: Any, action: int, reward: float, probability: float) -> None:
        del context
        self.told.append((action, reward, probability))
        self.sums[action] += reward


def test_each_context_is_decided_before_anything_is_told_of_it() -> None:
    watcher = Watcher(3)
    play(watcher, TOY, REPORTED, 1)
    assert watcher.asked == list(range(60))
    assert all(0.0 < probability <= 1.0 for _, _, probability in watcher.told)


def test_the_same_shuffle_and_numbers_are_played_to_both_sides() -> None:
    assert play(Watcher(3), TOY, REPORTED, 1).reward == play(Watcher(3), TOY, REPORTED, 1).reward
    rewards = {play(Watcher(3), TOY, kind, seed).reward for kind in (TUNING, REPORTED) for seed in range(4)}
    assert len(rewards) > 1


def test_a_number_falls_on_each_action_as_often_as_its_probability_says() -> None:
    distribution = np.array([0.2, 0.0, 0.5, 0.3])
    found = np.bincount([drawn(distribution, (n + 0.5) / 1_000) for n in range(1_000)], minlength=4)
    assert found.tolist() == [200, 0, 500, 300]
    assert drawn(distribution, 1.0 - 1e-16) == 3


def test_the_setting_is_chosen_on_the_tuning_shuffles() -> None:
    class Knowing(Watcher):
        def distribution(self, context: Any) -> F64:
            return np.asarray(context, np.float64)

    settings = [
        Setting(name="learns", family="a", make=lambda actions, _columns: Watcher(actions)),
        Setting(name="knows", family="b", make=lambda actions, _columns: Knowing(actions)),
    ]
    best, found = tuned(settings, TOY, range(2))
    assert best.name == "knows"
    assert found["knows"] == 1.0
    assert measured(settings, TOY, range(2), range(2)).reward == 1.0


def _log(count: int, seed: int) -> obd.Log:
    dice = np.random.default_rng(seed)
    action = dice.integers(0, 4, count)
    return obd.Log(
        x=np.ones((count, 1)),
        action=action,
        position=dice.integers(0, 2, count),
        click=(dice.random(count) < np.array([0.1, 0.2, 0.3, 0.4])[action]).astype(np.float64),
        propensity=np.full(count, 0.25),
        time=np.arange(count, dtype=np.float64),
        items=("a", "b", "c", "d"),
    )


def test_a_policy_knows_only_the_impressions_before() -> None:
    log = _log(200, 1)
    watcher = Watcher(4)
    before, _ = obd.lived(watcher, log)
    assert watcher.asked == list(range(200))
    assert before[0].tolist() == [0.25] * 4
    assert before.sum(axis=1) == pytest.approx(np.ones(200))


def test_an_order_of_the_items_is_taken_back() -> None:
    log = _log(100, 5)
    setting = Setting(name="watcher", family="", make=lambda actions, _columns: Watcher(actions))
    found, _ = obd.mixed(setting, log)
    alone, _ = obd.lived(Watcher(4), log)
    assert found == pytest.approx(alone)  # a policy without ties does not mind what items are called


def test_values_of_a_fixed_policy_hold_the_truth() -> None:
    log = _log(20_000, 2)
    fixed = np.tile([0.0, 0.0, 0.5, 0.5], (20_000, 1))
    found = obd.judged("fixed", log, fixed, Confidence(samples=200), {})
    for value in found.estimates.values():
        assert value.value == pytest.approx(0.35, abs=0.02)
    assert found.relative_value_snips == pytest.approx(0.35 / 0.25, abs=0.08)
    assert found.relative_interval.low < 0.35 / 0.25 < found.relative_interval.high


def test_the_other_logs_policy_is_rebuilt_from_what_it_logged() -> None:
    log, other = _log(50, 3), _log(400, 4)
    found = obd.rebuilt(log, other)
    assert found.sum(axis=1) == pytest.approx(np.ones(50))
    assert found[-1] == pytest.approx([0.25] * 4)


def test_vowpal_wabbit_gives_probabilities_and_learns_from_one_action() -> None:
    pytest.importorskip("vowpalwabbit", reason="pip install 'edgeward[bench]'")
    from tests.benchmarks.bandit import vw

    settings = list(vw.grid())
    assert len(settings) == 18
    learner = settings[0].make(3, 2)
    context = learner.prepare(np.array([1.0, 0.0]))
    first = learner.distribution(context)
    assert first == pytest.approx([1 / 3] * 3, abs=1e-6)
    for _ in range(20):
        learner.learn(context, 1, 1.0, 1 / 3)
    after = learner.distribution(context)
    assert after.sum() == pytest.approx(1.0, abs=1e-12)
    assert after.argmax() == 1
