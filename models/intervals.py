"""How sure a measured number is: intervals for a rate, for a difference between two models, between two groups.

Everything is 95 % unless said; resampling is seeded, so the same rows give the same interval.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

F64 = NDArray[np.float64]
_Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


class Estimate(Struct, frozen=True, kw_only=True):
    """A value and the interval around it."""

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0: for a difference, that there is one."""
        return self.low > 0.0 or self.high < 0.0


def wilson(hits: float, count: int) -> Estimate:
    """A rate of `hits` in `count` trials; holds near 0 and 1 too, where the normal interval does not.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    if count == 0:
        return Estimate(value=0.0, low=0.0, high=1.0)
    rate, square = hits / count, _Z * _Z / count
    middle = (rate + square / 2.0) / (1.0 + square)
    half = _Z * float(np.sqrt(rate * (1.0 - rate) / count + square / (4.0 * count))) / (1.0 + square)
    return Estimate(value=rate, low=max(0.0, middle - half), high=min(1.0, middle + half))


def bootstrap(values: NDArray[np.floating], seed: int, samples: int = 2_000) -> Estimate:
    """The mean of `values` (n,) over people or rows, with the percentile interval.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    return _percentiles(float(values.mean()), _resampled(values.astype(np.float64), seed, samples))


def paired(first: NDArray[np.floating], second: NDArray[np.floating], seed: int, samples: int = 2_000) -> Estimate:
    """How much higher the mean of `first` is than that of `second`, row by row on the same people.

    Args:
        first, second: (n,), the same measure of two models on the same rows in the same order.
    """
    return bootstrap(first.astype(np.float64) - second.astype(np.float64), seed, samples)


def subgroup_gap(values: NDArray[np.floating], groups: Mapping[str, NDArray[np.bool_]], seed: int) -> Estimate:
    """The best group's mean minus the worst one's.

    Args:
        values: (n,), one a person, higher is better.
        groups: name → (n,) who is in it; empty groups do not count. Fewer than two leave no gap.
    Returns:
        Best and worst are chosen once, on all rows; then each group is resampled by itself.
    """
    means = {name: float(values[some].mean()) for name, some in groups.items() if some.any()}
    if len(means) < 2:
        return Estimate(value=0.0, low=0.0, high=0.0)
    best, worst = max(means, key=lambda name: means[name]), min(means, key=lambda name: means[name])
    drawn = [
        _resampled(values[groups[name]].astype(np.float64), [seed, i], 2_000) for i, name in enumerate((best, worst))
    ]
    return _percentiles(means[best] - means[worst], drawn[0] - drawn[1])


def _resampled(values: F64, seed: int | list[int], samples: int) -> F64:
    """Means of `samples` resamples; in parts, so that memory stays small for many rows."""
    dice = np.random.default_rng(seed)
    part = max(1, 2_000_000 // max(1, len(values)))
    found = [
        values[dice.integers(0, len(values), (min(part, samples - start), len(values)))].mean(axis=1)
        for start in range(0, samples, part)
    ]
    return np.concatenate(found)


def _percentiles(value: float, drawn: F64) -> Estimate:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value=value, low=float(low), high=float(high))
