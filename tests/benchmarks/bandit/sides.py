"""What both sides of the comparison can do: say how they would choose, and learn from what was chosen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

F64 = NDArray[np.float64]


class Learner(Protocol):
    """A bandit over a fixed number of actions."""

    def prepare(self, x: F64) -> Any:
        """A context (columns,) in the form that this side reads: VW's text, our array. Not timed, on either side."""

    def distribution(self, context: Any) -> F64:
        """The probability of each action, float64 (actions,), summing to one."""

    def learn(self, context: Any, action: int, reward: float, probability: float) -> None:
        """Action `action` was taken in this context, with that probability, and earned `reward`."""


class Setting(Struct, frozen=True, kw_only=True):
    """One point of a side's tuning grid."""

    name: str
    """What it is, as printed."""
    family: str
    """The policy: `squarecb`, `linucb` …"""
    make: Callable[[int, int], Learner]
    """(actions, columns) → a learner that knows nothing yet."""


class Stopwatch:
    """Seconds spent in two kinds of calls."""

    def __init__(self) -> None:
        self.spent = {"decide": 0.0, "learn": 0.0}
        self.calls = 0

    @contextmanager
    def timing(self, kind: str) -> Iterator[None]:
        started = perf_counter()
        yield
        self.spent[kind] += perf_counter() - started

    def us(self) -> dict[str, float]:
        """Microseconds a call."""
        return {f"{kind}_us": round(spent / max(1, self.calls) * 1e6, 1) for kind, spent in self.spent.items()}
