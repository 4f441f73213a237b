"""Features on one scale, so that one ridge fits all of them."""

import math

import numpy as np
from numpy.typing import NDArray

from edge_agent.limits import SCALE_SEEN_MAX

F64 = NDArray[np.float64]

FARTHEST = 5.0
"""Deviations at which a standardised feature is cut off: one wild reading must not move everything."""


class Scale:
    """Running mean and deviation of each feature; they stand still after `SCALE_SEEN_MAX` rows.

    Standing still matters: the regression sums rows as they were standardised when they came.
    Source: Welford 1962, "Note on a method for calculating corrected sums of squares and products".
    """

    __slots__ = ("declared", "mean", "seen", "squares")

    def __init__(self, width: int) -> None:
        self.mean, self.squares, self.seen = np.zeros(width), np.zeros(width), 0
        self.declared = False

    @classmethod
    def fixed(cls, mean: F64, deviation: F64) -> "Scale":
        """A scale that a bundle declares; it never moves, so statistics of several devices can be added."""
        scale = cls(len(mean))
        scale.mean, scale.squares, scale.declared = mean.astype(np.float64), deviation.astype(np.float64) ** 2, True
        return scale

    def take(self, row: F64) -> None:
        """Let a row count; finite numbers."""
        if self.declared or self.seen >= SCALE_SEEN_MAX:
            return
        self.seen += 1
        away = row - self.mean
        self.mean += away / self.seen
        self.squares += away * (row - self.mean)

    @property
    def deviation(self) -> F64:
        """Of each feature, float64 (width,)."""
        return np.asarray(np.sqrt(self.squares if self.declared else self.squares / max(self.seen, 1)), np.float64)

    def standardised(self, row: F64) -> F64:
        """float64 (width,), each within ±`FARTHEST`, divided by √width: its length is near one, whatever the width.

        A feature that never varied is 0.
        """
        width = len(row)
        if not width:
            return row
        deviation = self.deviation
        away = row - self.mean
        found = np.divide(away, deviation, out=np.zeros(width), where=deviation > 1e-12)
        np.clip(found, -FARTHEST, FARTHEST, out=found)
        found /= math.sqrt(width)
        return found
