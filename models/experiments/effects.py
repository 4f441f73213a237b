"""Comparisons of arms, from sums alone: one estimator for fixed and for changing shares, with or without CUPED.

Under allocation e a person came into arm a with the known probability p(e, a). With m(a) the mean of the arm,
adjusted for what the person did before, every person's score is

    ψ = Σ_a c(a) · [ m(a) + 1{arm = a} · (y - m(a)) / p(e, a) ]

whose mean estimates Σ_a c(a) · μ(a) without a bias from drift over time while the shares changed, because each
outcome is weighted by the probability that held when the person came. Where the shares never changed the weights
cancel and it is the difference of the arms' means.

CUPED subtracts θ·(w - mean of w), w measured before anybody was assigned, so that only the variance changes.

Sources: Robins, Rotnitzky and Zhao 1994 (augmented inverse probability weighting); Ham, Bojinov, Lindon and Tingley
2022, "Design-Based Confidence Sequences"; Deng, Xu, Kohavi and Walker 2013, "Improving the Sensitivity of Online
Controlled Experiments by Utilizing Pre-Experiment Data" (CUPED).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from models.experiments.sums import F64, WIDTH


class Effect(NamedTuple):
    """A contrast of arms, in z (a metric's range is 1)."""

    people: float
    """Under the allocations that gave every arm of the contrast a chance."""
    value: float
    variance: float
    """Of one person's score ψ: the value's own is variance / people."""
    noise: float
    """Variance that noise added for privacy gives the value."""
    reduction: float
    """Share of the variance that CUPED took away."""
    arms: tuple[float, ...]
    """People in each arm of the experiment."""


def effect(
    tables: Mapping[int, F64],
    shares: Mapping[int, Sequence[float]],
    coefficients: Sequence[float],
    metric: int,
    noise: float = 0.0,
) -> Effect | None:
    """Estimate one contrast of one metric; None while an arm of it has nobody.

    Args:
        tables: as in `sums`.
        shares: allocation → probability of each arm; they sum to one.
        coefficients: one an arm, summing to zero.
        metric: which.
        noise: standard deviation of the noise on each sum, 0: none.
    """
    c = np.asarray(coefficients, np.float64)
    used = [n for n, coefficient in enumerate(coefficients) if coefficient]
    numbers = [n for n in sorted(tables) if n in shares and all(shares[n][a] > 0.0 for a in used)]
    if not numbers:
        return None
    counts = np.stack([tables[n][:, 0] for n in numbers])  # (allocations, arms)
    at = 1 + WIDTH * metric
    sums = np.stack([tables[n][:, at : at + WIDTH] for n in numbers])[:, used]  # (allocations, used arms, 5)
    chance = np.array([[shares[n][a] for a in used] for n in numbers])
    n_of, people, c = counts[:, used], float(counts.sum()), c[used]
    if people <= 1.0 or (n_of.sum(axis=0) < 1.0).any():
        return None
    theta = _theta(sums.sum(axis=0), n_of.sum(axis=0))
    # Realised shares where they are the smaller ones: few people in an arm make its mean less sure than was planned.
    seen = np.minimum(chance, np.maximum(n_of, 1.0) / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))
    shape = _Shape(n_of, chance, seen, c, people, noise)
    value, variance = _scored(shape, sums, theta)
    plain = _scored(shape, sums, 0.0)[1] if theta else variance
    added = float((c**2 * noise**2 * (1.0 + theta**2) * 1.25 * len(numbers) / n_of.sum(axis=0) ** 2).sum())
    return Effect(
        people=people,
        value=value,
        variance=variance,
        noise=added,
        reduction=1.0 - variance / plain,
        arms=tuple(float(count) for count in counts.sum(axis=0)),
    )


def _theta(sums: F64, people: F64) -> float:
    """Slope of z on w within the arms; sums (arms, 5). 0 where w does not vary."""
    z, _, w, ww, zw = sums.T
    within = float((ww - w * w / people).sum())
    return float((zw - z * w / people).sum()) / within if within > 1e-6 * float(people.sum()) else 0.0


class _Shape(NamedTuple):
    """Who is where; each but the last two (allocations, arms of the contrast) or (arms,)."""

    people_of: F64
    chance: F64
    seen: F64
    coefficients: F64
    people: float
    noise: float


def _scored(shape: _Shape, sums: F64, theta: float) -> tuple[float, float]:
    """(mean, variance) of ψ over all people.

    The variance has one person at either bound more in every arm, so that an arm in which nothing has happened yet does
    not count as certain (as in Agresti and Coull 1998 for a rate).
    """
    n_of, chance, seen, c, people, noise = shape
    z, zz, w, ww, zw = np.moveaxis(sums, -1, 0)  # each (allocations, arms)
    arm_people = n_of.sum(axis=0)
    middle = float(w.sum() / arm_people.sum())
    mean = (z.sum(axis=0) - theta * (w.sum(axis=0) - middle * arm_people)) / arm_people
    shift = mean - theta * middle
    left = z - theta * w - n_of * shift
    squares = zz + theta**2 * ww + n_of * shift**2 - 2 * theta * zw - 2 * shift * z + 2 * theta * shift * w
    correction = float((c * (left / chance).sum(axis=0)).sum()) / people
    padding = ((0.5 - mean) ** 2 + (0.5 + mean) ** 2) * (people / arm_people) ** 2
    second = ((np.maximum(squares, 0.0) + 2.0 * noise) / seen**2).sum(axis=0) + padding
    variance = float((c**2 * second).sum()) / people - correction**2
    return float((c * mean).sum()) + correction, max(variance, 1e-12)
