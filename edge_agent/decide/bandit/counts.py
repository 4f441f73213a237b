"""What each item brought: sums of rewards, and of what was missing to one."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.decide.bandit.forgetting import Clock, Forgetting

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Stored = dict[str, tuple[float, ...]]

CLOCK = "\x00"
"""The entry of the clock; no item is called so."""
_decoder = msgspec.msgpack.Decoder(Stored)
_NO_PRIOR: Mapping[str, tuple[float, float]] = {}
_KEYS = ("",)


class Counts:
    """Rewards by item. The same counts serve Beta and normal posteriors.

    Stored: item → (rewards, missing[, clock's `seen`, clock's `at_ms`[, of the rewards, of what was missing]]). The
    clock only where rewards are forgotten or a bundle brought a beginning; the last two are what is left of that.
    """

    __slots__ = ("_recall", "clock", "forgetting", "items", "prior")

    def __init__(
        self,
        forgetting: Forgetting,
        recall: Callable[[str], bytes | None] = lambda _key: None,
        prior: Mapping[str, tuple[float, float]] = _NO_PRIOR,
    ) -> None:
        """Take up what was stored.

        Args:
            recall: key → stored bytes.
            prior: item → (rewards, missing) that count before anything was seen here.
        """
        self.forgetting, self._recall, self.prior = forgetting, recall, prior
        self.clock = Clock()
        self.items: Stored = {}
        self.reload()

    def reload(self) -> None:
        """What the store has."""
        stored = self._recall("")
        self.items = {} if stored is None else _decoder.decode(stored)
        seen, at_ms = self.items.pop(CLOCK, (0.0, 0.0))
        self.clock = Clock(seen, int(at_ms))

    def trim(self) -> None:
        """Nothing: the whole is one row."""

    def learn(self, item: str, reward: float, now_ms: int) -> Sequence[str]:
        """Take in a reward in [0, 1]; the keys of what is to be stored."""
        won, missing = self._now(item)
        brought = self._brought(item)
        self.clock.seen += 1.0
        self.clock.at_ms = max(self.clock.at_ms, now_ms)
        if not self.forgetting.none:
            left = self._factor(item)
            won, missing, brought = won * left, missing * left, (brought[0] * left, brought[1] * left)
        self.items[item] = (won + reward, missing + 1.0 - reward)
        if not self.forgetting.none or any(brought):
            self.items[item] += (self.clock.seen, float(self.clock.at_ms))
        if any(brought):
            self.items[item] += brought
        return _KEYS

    def own(self, item: str) -> tuple[float, float]:
        """(rewards, missing) by now of what was seen here alone, without what a bundle brought."""
        if item not in self.items:
            return 0.0, 0.0
        left = 1.0 if self.forgetting.none else self._factor(item)
        pairs = zip(self._now(item), self._brought(item), strict=True)
        won, missing = (max(0.0, (held - brought) * left) for held, brought in pairs)
        return won, missing

    def _brought(self, item: str) -> tuple[float, float]:
        """What is left of an item's beginning, as of its newest reward."""
        held = self.items.get(item)
        if held is None:
            return self.prior.get(item, (0.0, 0.0))
        return (held[4], held[5]) if len(held) > 4 else (0.0, 0.0)

    def pack(self, key: str) -> bytes:
        """The stored form."""
        del key
        clock = (self.clock.seen, float(self.clock.at_ms))
        return msgspec.msgpack.encode({**self.items, CLOCK: clock})

    def sums(self, items: Sequence[str]) -> F64:
        """(rewards, missing) by now; float64 (2, n)."""
        held = np.array([self._now(item) for item in items], np.float64).reshape(-1, 2).T
        if not self.forgetting.none:
            held = held * np.array([self._factor(item) for item in items], np.float64)
        return held

    def _now(self, item: str) -> tuple[float, float]:
        held = self.items.get(item)
        return (held[0], held[1]) if held is not None else self.prior.get(item, (0.0, 0.0))

    def _factor(self, item: str) -> float:
        held = self.items.get(item)
        return self.forgetting.factor(self.clock, held[2], int(held[3])) if held is not None and len(held) > 2 else 1.0


def beta_beliefs(strength: float, prior: F32, counts: Counts, items: Sequence[str]) -> Estimates:
    """Beta(s·p + rewards, s·(1 - p) + missing) of each item, p its prior mean in [0, 1]."""
    mean = np.clip(prior.astype(np.float64), 1e-3, 1.0 - 1e-3)
    shapes = counts.sums(items)
    shapes = np.stack([shapes[0] + strength * mean, shapes[1] + strength * (1.0 - mean)])
    total = shapes[0] + shapes[1]
    expected = shapes[0] / total
    deviation = np.sqrt(expected * (1.0 - expected) / (total + 1.0))
    return Estimates(expected, deviation, shapes, counts.clock.seen)


def normal_beliefs(strength: float, noise: float, prior: F32, counts: Counts, items: Sequence[str]) -> Estimates:
    """N((s·p + Σ reward) / (s + n), noise² / (s + n)) of each item, p its prior mean."""
    won, missing = counts.sums(items)
    total = strength + won + missing
    mean = (strength * prior.astype(np.float64) + won) / total
    return Estimates(mean, noise / np.sqrt(total), None, counts.clock.seen)
