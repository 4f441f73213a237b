"""The device's side: the learners of `edge_agent.decide.bandit`, as placements run them, without a model's scores.

Its grid is as large as the other side's: three families, each with its defaults first and what their parameters are
for varied about them. A family is chosen like a setting: on the tuning shuffles.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit.learner import Alone
from firmware_configs.profile import LinThompson, LinUcb, Policy, SquareCb, Thompson
from tests.benchmarks.bandit.sides import F64, Setting

HEADLINE = "square-cb"
"""Whose value on Open Bandit counts: the same kind of policy as the other side's. Settled before it was run."""


class OnDevice:
    """One policy over items that are called by their numbers."""

    def __init__(self, policy: Policy, actions: int, columns: int) -> None:
        self._learner = Alone(policy, columns)
        self._items = [str(n) for n in range(actions)]

    def prepare(self, x: F64) -> NDArray[np.float32]:
        """See `Learner`."""
        return x.astype(np.float32)

    def distribution(self, context: NDArray[np.float32]) -> F64:
        """See `Learner`."""
        return self._learner.probabilities(self._items, context)

    def learn(self, context: NDArray[np.float32], action: int, reward: float, probability: float) -> None:
        """See `Learner`; a regression needs no probability."""
        del probability
        self._learner.learn(self._items[action], reward, context)


def grid() -> Iterator[Setting]:
    """18 settings, six a family; a family's first is its defaults."""
    square = SquareCb()
    for optimism in (square.optimism, 0.0):
        for gamma in (square.gamma, square.gamma / 4.0, square.gamma * 4.0):
            told = f"square-cb gamma={gamma:g} optimism={optimism:g}"
            yield _setting("square-cb", told, SquareCb(gamma=gamma, optimism=optimism))
    upper = LinUcb()
    for ridge in (upper.ridge, upper.ridge / 4.0):
        for alpha in (upper.alpha, upper.alpha / 3.0, upper.alpha * 3.0):
            yield _setting("lin-ucb", f"lin-ucb alpha={alpha:g} ridge={ridge:g}", LinUcb(alpha=alpha, ridge=ridge))
    drawn = LinThompson()
    for ridge in (drawn.ridge, drawn.ridge / 4.0):
        for spread in (drawn.spread, drawn.spread / 3.0, drawn.spread * 3.0):
            told = f"lin-thompson spread={spread:g} ridge={ridge:g}"
            yield _setting("lin-thompson", told, LinThompson(spread=spread, ridge=ridge))


def defaults() -> Iterator[Setting]:
    """What lives through Open Bandit's log: every policy that learns without a model's scores, at its defaults."""
    for policy in (SquareCb(), LinUcb(), LinThompson(), Thompson()):
        name = str(type(policy).__struct_config__.tag)
        yield _setting(name, name, policy)


def _setting(family: str, name: str, policy: Policy) -> Setting:
    return Setting(name=name, family=family, make=_making(policy))


def _making(policy: Policy) -> Callable[[int, int], OnDevice]:
    return lambda actions, columns: OnDevice(policy, actions, columns)
