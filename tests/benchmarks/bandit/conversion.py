"""Supervised → bandit: the right class earns 1, every other one 0, and only the one that was tried is told.

One pass over each shuffle; what counts is the mean reward of all its rounds, learning included (progressive validation,
Blum, Kalai and Langford 1999). Both sides see the same shuffles and the same uniform number a round to draw with.
Each side's setting is chosen on shuffles of its own, which are not reported.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from tests.benchmarks.bandit.sets import ClassSet
from tests.benchmarks.bandit.sides import F64, Learner, Setting, Stopwatch

TUNING, REPORTED = 1_000_003, 2_000_003
"""What a shuffle's seed begins with, so that the two kinds never meet."""


class Played(Struct, frozen=True, kw_only=True):
    """One pass."""

    reward: float
    """Mean over all rounds."""
    last_half: float
    """Mean over the second half, when most has been learned."""
    decide_us: float
    learn_us: float


class Side(Struct, frozen=True, kw_only=True):
    """One side on one set, over the reported shuffles."""

    setting: str
    family: str
    reward: float
    spread: float
    """Sample standard deviation over shuffles."""
    rewards: tuple[float, ...]
    last_half: float
    decide_us: float
    learn_us: float
    tuning: dict[str, float]
    """Setting → mean reward on the tuning shuffles."""


def play(learner: Learner, given: ClassSet, kind: int, seed: int) -> Played:
    """One pass over one shuffle."""
    dice = np.random.default_rng([kind, seed])
    order, draw = dice.permutation(len(given.x)), dice.random(len(given.x))
    watch, earned = Stopwatch(), np.zeros(len(order))
    for n, row in enumerate(order):
        context = learner.prepare(given.x[row])
        with watch.timing("decide"):
            distribution = learner.distribution(context)
            action = drawn(distribution, float(draw[n]))
        earned[n] = float(action == given.y[row])
        with watch.timing("learn"):
            learner.learn(context, action, float(earned[n]), float(distribution[action]))
    watch.calls = len(order)
    return Played(reward=float(earned.mean()), last_half=float(earned[len(order) // 2 :].mean()), **watch.us())


def drawn(distribution: F64, number: float) -> int:
    """The action that a uniform number in [0, 1) falls on."""
    return min(int(np.searchsorted(np.cumsum(distribution), number, side="right")), len(distribution) - 1)


def tuned(settings: Sequence[Setting], given: ClassSet, seeds: Sequence[int]) -> tuple[Setting, dict[str, float]]:
    """(the setting with the best mean reward on the tuning shuffles, all of theirs)."""
    found = {
        setting.name: float(np.mean([_pass(setting, given, TUNING, seed).reward for seed in seeds]))
        for setting in settings
    }
    return max(settings, key=lambda setting: found[setting.name]), found


def measured(settings: Sequence[Setting], given: ClassSet, tuning: Sequence[int], reported: Sequence[int]) -> Side:
    """Choose a setting, then play the reported shuffles with it."""
    best, found = tuned(settings, given, tuning)
    played = [_pass(best, given, REPORTED, seed) for seed in reported]
    rewards = [one.reward for one in played]
    return Side(
        setting=best.name,
        family=best.family,
        reward=float(np.mean(rewards)),
        spread=float(np.std(rewards, ddof=1)) if len(rewards) > 1 else 0.0,
        rewards=tuple(rewards),
        last_half=float(np.mean([one.last_half for one in played])),
        decide_us=float(np.median([one.decide_us for one in played])),
        learn_us=float(np.median([one.learn_us for one in played])),
        tuning={name: round(value, 4) for name, value in found.items()},
    )


def _pass(setting: Setting, given: ClassSet, kind: int, seed: int) -> Played:
    return play(setting.make(given.actions, given.x.shape[1]), given, kind, seed)
