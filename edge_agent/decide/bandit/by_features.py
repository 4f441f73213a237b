"""A regression for each item on the model's features and its score: LinUCB, LinTS and SquareCB."""

import zlib
from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.decide.bandit import normal, optimism, square
from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.decide.bandit.forgetting import Clock, Forgetting
from edge_agent.decide.bandit.learner import Recall
from edge_agent.decide.bandit.linear import Arms
from edge_agent.decide.bandit.scale import Scale
from firmware_configs.profile import LinThompson, LinUcb, SquareCb
from models.ridge import Statistics, rescaled
from models.warm_start import WarmStart

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Scaling = tuple[bytes, bytes]
"""Mean and deviation of each feature, float64."""


class _Head(Struct, array_like=True):
    """The clock and the scale as they are stored."""

    signature: int
    seen: float
    at_ms: int
    rows: int
    mean: bytes
    squares: bytes
    columns: int = 0
    """Signature of the columns without the scale."""
    former: dict[int, Scaling] = {}
    """Signature → the scale of regressions that were not touched since the bundle declared another one."""


_head_decoder = msgspec.msgpack.Decoder(_Head)

HEAD = "\x00head"
"""Key of the clock and the scale."""
ARM = "\x00item\x00"
"""Before an item: key of its regression."""
ALL = ""
"""In place of an item: the regression that all items share."""


class ByFeatures:
    """Rows φ = (features standardised, score, 1), a regression on them for each item."""

    def __init__(
        self,
        policy: LinUcb | LinThompson | SquareCb,
        width: int,
        recall: Recall,
        prior: WarmStart | None,
        signature: int,
    ) -> None:
        self._policy = policy
        self._recall = recall
        self._prior = prior if isinstance(policy, LinUcb | SquareCb) and policy.shared else None
        items = self._prior.items if self._prior is not None else None
        self.shared = items is not None
        """Whether all items have one regression."""
        described = items.shape[1] if items is not None else 0
        self._of_columns = signature if items is None else signature ^ zlib.crc32(items.tobytes())
        self.width = width
        self.columns = width + described * (1 + width)
        """Of a row, but for the score and 1."""
        self.clock = Clock()
        declared = prior.scale if prior is not None else None
        fits = declared is not None and len(declared[0]) == width
        self.scale = Scale.fixed(*declared) if declared is not None and fits else Scale(width)
        # Regressions on a scale of their own and on a declared one are told apart by it.
        self.signature = self._of_columns ^ (zlib.crc32(b"".join(self._scaling())) if self.scale.declared else 0)
        self._former: dict[int, Scaling] = {}
        self._take_up_head()
        forgetting = Forgetting(policy.half_life_rewards, policy.half_life_s)
        known = prior.statistics if prior is not None and not self.shared else _nothing
        self.arms = Arms(
            self.columns + 2, policy.ridge, forgetting, self._arm, known, self.columns, self.signature, self._turned
        )

    def _arm(self, item: str) -> bytes | None:
        return self._recall(ARM + item)

    def _take_up_head(self) -> None:
        stored = self._recall(HEAD)
        if stored is None:
            return
        head = _head_decoder.decode(stored)
        if self._of_columns not in {head.signature, head.columns}:
            return
        self.clock, self._former = Clock(head.seen, head.at_ms), dict(head.former)
        if len(head.mean) != 8 * self.width:
            return
        mean, squares = np.frombuffer(head.mean).copy(), np.frombuffer(head.squares).copy()
        if not self.scale.declared and head.signature == self.signature:
            self.scale.seen, self.scale.mean, self.scale.squares = head.rows, mean, squares
        elif head.signature != self.signature:
            # A scale that a bundle declared was stored without rows.
            self._former[head.signature] = (head.mean, np.sqrt(squares / max(head.rows, 1)).tobytes())
        self._former.pop(self.signature, None)

    def _scaling(self) -> Scaling:
        """The scale as of now."""
        return self.scale.mean.tobytes(), self.scale.deviation.tobytes()

    def _turned(self, signature: int, statistics: Statistics) -> Statistics | None:
        """What was learned on another scale of these columns, on this one; None: it was on other columns."""
        former = self._former.get(signature)
        if former is None or self.shared:
            return None
        return rescaled(statistics, _arrays(former), _arrays(self._scaling()))

    def rows(self, items: Sequence[str], context: F32 | None, probability: F64) -> F64:
        """φ of each candidate; float64 (n, columns + 2). What is not a number counts as 0.

        Of a regression that items share, each row also holds the item's features and their products with the context.
        """
        found = np.zeros((len(probability), self.columns + 2))
        standard = np.zeros(self.width) if context is None else self.scale.standardised(_finite(context))
        found[:, : self.width] = standard
        if self._prior is not None and self.shared:
            described = self._prior.described(items)
            crossed = np.einsum("nf,k->nfk", described, standard).reshape(len(items), -1)
            found[:, self.width : self.columns] = np.concatenate([described, crossed], axis=1)
        found[:, -2], found[:, -1] = probability, 1.0
        return found

    def beliefs(self, items: Sequence[str], context: F32 | None, scores: F32, probability: F32) -> Estimates:
        """The regressions' estimates."""
        del scores
        rows = self.rows(items, context, probability.astype(np.float64))
        if self.shared:
            found = self.arms.beliefs_of_one(ALL, rows, self.clock)
        else:
            found = self.arms.beliefs(items, rows, self.clock)
        return Estimates(*found, None, self.clock.seen)

    def vector(self, beliefs: Estimates) -> F64:
        """The policy's probabilities."""
        match self._policy:
            case LinUcb(alpha=alpha, epsilon=epsilon):
                return optimism.vector(beliefs, alpha, epsilon)
            case LinThompson(spread=spread):
                return normal.vector(beliefs, spread)
            case SquareCb(gamma=gamma, exponent=exponent, optimism=hope):
                return square.vector(beliefs, gamma, exponent, hope)

    def learn(self, item: str, reward: float, context: F32 | None, probability: float, now_ms: int) -> Sequence[str]:
        """Move the item's regression, and the scale while it moves."""
        if context is not None and self.width:
            self.scale.take(_finite(context))
        self.clock.seen += 1.0
        self.clock.at_ms = max(self.clock.at_ms, now_ms)
        own = ALL if self.shared else item
        self.arms.learn(own, self.rows((item,), context, np.array([probability]))[0], reward, self.clock)
        return (HEAD, ARM + own)

    def pack(self, key: str) -> bytes:
        """The head, or an item's regression."""
        if key != HEAD:
            return self.arms.pack(key.removeprefix(ARM))
        scale = self.scale
        head = _Head(
            self.signature,
            self.clock.seen,
            self.clock.at_ms,
            scale.seen,
            scale.mean.tobytes(),
            scale.squares.tobytes(),
            self._of_columns,
            self._former,
        )
        return msgspec.msgpack.encode(head)

    def trim(self) -> None:
        """Let regressions go when they are too many."""
        self.arms.trim()


def _arrays(scaling: Scaling) -> tuple[F64, F64]:
    return np.frombuffer(scaling[0]), np.frombuffer(scaling[1])


def _finite(context: F32) -> F64:
    return np.nan_to_num(context.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _nothing(_item: str) -> Statistics | None:
    return None
