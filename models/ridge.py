"""Ridge regression by its sufficient statistics, which devices can add up.

All that a linear bandit knows of an item is A = Σ w φ φᵀ, b = Σ w φ r and n = Σ w over its rewards r at rows φ.
Neither the ridge nor the model's prior is in them, so sums over devices are the statistics of all devices together.
"""

from collections.abc import Iterable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

F64 = NDArray[np.float64]


class Statistics(Struct, frozen=True, eq=False):
    """Of one item, or of one model that items share."""

    moments: F64
    """A: float64 (d, d), symmetric."""
    targets: F64
    """b: float64 (d,)."""
    weight: float
    """n: how many rewards, less what was forgotten."""

    @property
    def width(self) -> int:
        """d."""
        return len(self.targets)


def nothing(width: int) -> Statistics:
    """Before the first reward; the neutral element of `merge`."""
    return Statistics(np.zeros((width, width)), np.zeros(width), 0.0)


def faded(statistics: Statistics, factor: float) -> Statistics:
    """What is left of them, `factor` in [0, 1]: each reward's weight times the factor."""
    return Statistics(statistics.moments * factor, statistics.targets * factor, statistics.weight * factor)


def merge(parts: Iterable[Statistics], width: int) -> Statistics:
    """The statistics of all rewards together: sums, so neither order nor grouping matters (but for rounding).

    Where devices forget, fade each part to the time of the merge before (`faded`); fading and adding commute. The
    devices must have made their rows alike: same features, same declared scale.

    Args:
        width: d, of each part.
    Raises:
        ValueError: a part of another width.
    """
    total = nothing(width)
    for part in parts:
        if part.width != width or part.moments.shape != (width, width):
            raise ValueError(f"statistics of width {part.width} cannot be added to those of width {width}")
        total = Statistics(total.moments + part.moments, total.targets + part.targets, total.weight + part.weight)
    return total


def inverse(moments: F64, ridge: float) -> F64:
    """(A + ridge · I)⁻¹, exactly symmetric; float64 (…, d, d)."""
    found = np.linalg.inv(moments + ridge * np.eye(moments.shape[-1]))
    return np.asarray((found + found.swapaxes(-1, -2)) / 2.0, np.float64)


def rescaled(statistics: Statistics, old: tuple[F64, F64], new: tuple[F64, F64]) -> Statistics:
    """The statistics as if the rows had been made on another scale; exact but for features that were cut off.

    Rows are φ = ((x - mean) / (deviation · √k), …, score, 1), a feature of deviation 0 being 0. The constant in them
    makes the change of scale linear, φ' = Tφ, so A' = TATᵀ and b' = Tb.

    Args:
        statistics: of width k + 2.
        old: mean and deviation of each of the k features, float64 (k,), by which the rows were made.
        new: the same, by which they are to be.
    """
    count = len(old[0])
    turn = np.eye(count + 2)
    turn[:count] = 0.0
    for at, (mean, deviation, to_mean, to_deviation) in enumerate(zip(*old, *new, strict=True)):
        if to_deviation > 0.0:
            turn[at, at] = deviation / to_deviation
            turn[at, -1] = (mean - to_mean) / (to_deviation * np.sqrt(count))
    moments = turn @ statistics.moments @ turn.T
    return Statistics((moments + moments.T) / 2.0, turn @ statistics.targets, statistics.weight)
