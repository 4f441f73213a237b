"""A ridge regression for each item, learned a reward at a time."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.decide.bandit.forgetting import Clock, Forgetting
from edge_agent.limits import ARMS_HOT_BYTES, REFACTOR_EVERY
from models.ridge import Statistics, faded, inverse

F64 = NDArray[np.float64]
Rows = NDArray[np.intp]


class _Packed(Struct, array_like=True):
    """A regression as it is stored; the last two only where a bundle brought its beginning."""

    signature: int
    weight: float
    seen: float
    ms: int
    updates: int
    moments: bytes
    inverse: bytes
    targets: bytes
    theta: bytes
    born: bytes = b""
    """The beginning, float32: the moments' lower triangle, targets, weight."""
    left: float = 0.0
    """What of its weight is not forgotten yet."""


_decoder = msgspec.msgpack.Decoder(_Packed)


class Arms:
    """The regressions that are in memory, side by side in arrays; further ones are recalled when they are asked for.

    Row i holds A, (A + ridge·I)⁻¹, b and θ = (A + ridge·I)⁻¹ (b + ridge·θ₀), all float64 and packed as such, so that a
    restart changes no bit. θ₀ is 1 at `score_at`, where the row holds the model's score, else 0: before any reward the
    estimate is the model's score, and what is learned is its correction.
    Source: Li et al. 2010, algorithm 1; the inverse by Sherman and Morrison 1950.
    """

    def __init__(
        self,
        width: int,
        ridge: float,
        forgetting: Forgetting,
        recall: Callable[[str], bytes | None],
        prior: Callable[[str], Statistics | None],
        score_at: int,
        signature: int = 0,
        turned: Callable[[int, Statistics], Statistics | None] = lambda _signature, _statistics: None,
    ) -> None:
        """Start empty.

        Args:
            width: d, of the rows φ.
            ridge: > 0, pseudo-observations of each direction.
            recall: item → stored bytes.
            prior: item → what counts before anything was seen here.
            score_at: column of the model's score.
            signature: of the columns' meaning and scale.
            turned: statistics that were stored under another signature → as they would be under this one; None: they
                cannot be, and are not taken up.
        """
        self._turned = turned
        self.width, self.ridge, self.forgetting = width, ridge, forgetting
        self._recall, self._prior, self._score_at, self._signature = recall, prior, score_at, signature
        self._triangle = np.tril_indices(width)
        self._most = max(64, ARMS_HOT_BYTES // (16 * width * (width + 1)))
        self.clear()

    def clear(self) -> None:
        """Let all go; they are stored."""
        self.at: dict[str, int] = {}
        self._asked: tuple[tuple[str, ...], Rows] = ((), np.zeros(0, np.intp))
        width = self.width
        self.moments, self.inverse = np.zeros((0, width, width)), np.zeros((0, width, width))
        self.targets, self.theta = np.zeros((0, width)), np.zeros((0, width))
        self.weight, self.seen = np.zeros(0), np.zeros(0)
        self.ms, self.updates = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.left = np.zeros(0)
        self._born: dict[str, bytes] = {}

    def trim(self) -> None:
        """Between steps: let all go when they are too many to keep."""
        if len(self.at) > self._most:
            self.clear()

    def rows(self, items: Sequence[str]) -> Rows:
        """The rows of items, recalled where needed."""
        key = tuple(items)
        if key == self._asked[0]:
            return self._asked[1]
        missing = [item for item in key if item not in self.at]
        if missing:
            self._grow(len(self.at) + len(missing))
            for item in missing:
                self._take_up(item)
        self._asked = (key, np.array([self.at[item] for item in key], np.intp))
        return self._asked[1]

    def _row(self, item: str) -> int:
        if item not in self.at:
            self._grow(len(self.at) + 1)
            self._take_up(item)
        return self.at[item]

    def _grow(self, needed: int) -> None:
        had = len(self.weight)
        if needed <= had:
            return
        more = max(needed, had + had // 2) - had
        for name in ("moments", "inverse", "targets", "theta", "weight", "seen", "ms", "updates", "left"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)]))

    def _take_up(self, item: str) -> None:
        row = self.at[item] = len(self.at)
        stored = self._recall(item)
        if stored is not None:
            held = _decoder.decode(stored)
            if held.signature == self._signature and len(held.theta) == 8 * self.width:
                self.weight[row], self.seen[row] = held.weight, held.seen
                self.ms[row], self.updates[row] = held.ms, held.updates
                self._fill(self.moments[row], held.moments)
                self._fill(self.inverse[row], held.inverse)
                self.targets[row], self.theta[row] = np.frombuffer(held.targets), np.frombuffer(held.theta)
                if held.born:
                    self._born[item], self.left[row] = held.born, held.left
                return
            if len(held.theta) == 8 * self.width and self._take_over(item, row, held):
                return
        prior = self._prior(item)
        if prior is not None and prior.width == self.width:
            self.moments[row], self.targets[row], self.weight[row] = prior.moments, prior.targets, prior.weight
            self._born[item], self.left[row] = self._packed(prior), 1.0
            self._refactor(row)
        else:
            # Rows are given out once, so what stands there is zero.
            self.inverse[row] = np.eye(self.width) / self.ridge
            self._solve(row)

    def _take_over(self, item: str, row: int, held: _Packed) -> bool:
        """Go on with what was learned on another scale of the same columns; False: it was learned on others."""
        moments = np.zeros((self.width, self.width))
        self._fill(moments, held.moments)
        now = self._turned(held.signature, Statistics(moments, np.frombuffer(held.targets), held.weight))
        if now is None:
            return False
        self.moments[row], self.targets[row], self.weight[row] = now.moments, now.targets, now.weight
        self.seen[row], self.ms[row], self.updates[row] = held.seen, held.ms, held.updates
        if held.born and (brought := self._turned(held.signature, self._brought(held.born))) is not None:
            self._born[item], self.left[row] = self._packed(brought), held.left
        self._refactor(row)
        return True

    def _fill(self, matrix: F64, triangle: bytes) -> None:
        lower = np.frombuffer(triangle)
        matrix[self._triangle] = lower
        matrix.T[self._triangle] = lower

    def pack(self, item: str) -> bytes:
        """The stored form: the lower triangles of both matrices, and the rest."""
        row = self.at[item]
        packed: tuple[object, ...] = (
            self._signature,
            float(self.weight[row]),
            float(self.seen[row]),
            int(self.ms[row]),
            int(self.updates[row]),
            self.moments[row][self._triangle].tobytes(),
            self.inverse[row][self._triangle].tobytes(),
            self.targets[row].tobytes(),
            self.theta[row].tobytes(),
        )
        if item in self._born:
            packed += (self._born[item], float(self.left[row]))
        return msgspec.msgpack.encode(packed)

    def beliefs(self, items: Sequence[str], rows: F64, clock: Clock) -> tuple[F64, F64]:
        """Means and deviations.

        Args:
            rows: φ of each item, float64 (n, d).
        Returns:
            float64 (n,) each. A deviation is √(φᵀ (A + ridge·I)⁻¹ φ), wider by what was forgotten since the item's
            last reward, never wider than before its first.
        """
        at = self.rows(items)
        # Neighbours are looked at where they lie; a copy of all matrices would cost more than the products.
        place: slice | Rows = slice(at[0], at[0] + len(at)) if bool((np.diff(at) == 1).all()) else at
        held, theta = self.inverse[place], self.theta[place]
        spread = np.matmul(held, rows[:, :, None])[:, :, 0]
        variance = (spread * rows).sum(axis=1)
        if not self.forgetting.none:
            left = [self.forgetting.factor(clock, self.seen[row], int(self.ms[row])) for row in at]
            variance = np.minimum(variance / np.array(left), (rows * rows).sum(axis=1) / self.ridge)
        return (theta * rows).sum(axis=1), np.sqrt(np.maximum(variance, 0.0))

    def beliefs_of_one(self, item: str, rows: F64, clock: Clock) -> tuple[F64, F64]:
        """As `beliefs`, of several rows by the one regression that they share."""
        at = self._row(item)
        variance = ((rows @ self.inverse[at]) * rows).sum(axis=1)
        if not self.forgetting.none:
            left = self.forgetting.factor(clock, self.seen[at], int(self.ms[at]))
            variance = np.minimum(variance / left, (rows * rows).sum(axis=1) / self.ridge)
        return rows @ self.theta[at], np.sqrt(np.maximum(variance, 0.0))

    def learn(self, item: str, row: F64, reward: float, clock: Clock) -> None:
        """Take in a reward at φ; `clock` already counts it.

        Rank-one where nothing is forgotten, with the inverse computed afresh every `REFACTOR_EVERY` rewards; where
        rewards fade, A fades and the ridge does not, so the inverse is computed afresh each time.
        """
        at = self._row(item)
        left = self.forgetting.factor(clock, self.seen[at], int(self.ms[at])) if self.weight[at] else 1.0
        self.seen[at], self.ms[at] = clock.seen, clock.at_ms
        if left < 1.0:
            self.moments[at] *= left
            self.targets[at] *= left
            self.weight[at] *= left
            self.left[at] *= left
        self.moments[at] += np.multiply.outer(row, row)
        self.targets[at] += reward * row
        self.weight[at] += 1.0
        self.updates[at] += 1
        if left < 1.0 or self.updates[at] % REFACTOR_EVERY == 0:
            self._refactor(at)
            return
        spread = self.inverse[at] @ row
        # The outer product of a vector with itself is symmetric to the last bit, and so the inverse stays.
        self.inverse[at] -= np.multiply.outer(spread, spread) / (1.0 + float(spread @ row))
        self._solve(at)

    def _refactor(self, at: int) -> None:
        self.inverse[at] = inverse(self.moments[at], self.ridge)
        self._solve(at)

    def _solve(self, at: int) -> None:
        aim = self.targets[at].copy()
        aim[self._score_at] += self.ridge
        self.theta[at] = self.inverse[at] @ aim

    def statistics(self, item: str, clock: Clock) -> Statistics:
        """What a device would add to a round: what it saw itself, faded to now, without the ridge and the beginning."""
        at = self._row(item)
        own = Statistics(self.moments[at].copy(), self.targets[at].copy(), float(self.weight[at]))
        if item in self._born:
            brought = faded(self._brought(self._born[item]), float(self.left[at]))
            own = Statistics(
                own.moments - brought.moments, own.targets - brought.targets, max(0.0, own.weight - brought.weight)
            )
        return faded(own, self.forgetting.factor(clock, self.seen[at], int(self.ms[at])) if own.weight else 1.0)

    def _packed(self, brought: Statistics) -> bytes:
        """A beginning as it is stored: float32, as it stands in the bundle."""
        parts = [brought.moments[self._triangle], brought.targets, np.array([brought.weight])]
        return np.concatenate(parts).astype(np.float32).tobytes()

    def _brought(self, packed: bytes) -> Statistics:
        """What the bundle brought when a regression began."""
        held = np.frombuffer(packed, np.float32).astype(np.float64)
        moments = np.zeros((self.width, self.width))
        cut = len(self._triangle[0])
        self._fill(moments, held[:cut].tobytes())
        return Statistics(moments, held[cut:-1], float(held[-1]))
