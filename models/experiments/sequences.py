"""Confidence sequences: intervals for a mean that hold at every sample size at once, so that one may look at any time.

Two kinds, both functions of sums only. The *mixture* is asymptotic: it is as narrow as the normal interval allows and
holds for a sum of many small contributions. The *bounded* one is exact for values in [0, 1] at every sample size, and
wider. Neither minds how the moment of looking, or of stopping, was chosen.

Sources: Robbins 1970, "Statistical Methods Related to the Law of the Iterated Logarithm" (normal mixture); Johari,
Koomen, Pekelis and Walsh 2022, "Always Valid Inference" (the mSPRT, the same boundary as a test); Waudby-Smith, Arbour,
Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence sequences", theorem 2.2;
Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", theorem 4
(empirical Bernstein), here with a fixed centre and a mixture over a grid; Robbins 1970 and Kaufmann and Koolen 2021,
"Mixture Martingales Revisited" (the beta mixture of Bernoulli likelihood ratios).
"""

import math

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
GRID = 0.9 * 2.0 ** (-0.75 * np.arange(16))
"""λ of the bounded sequence's mixture, in (0, 1): from 0.9 down to 4e-4."""
_lgamma = np.vectorize(math.lgamma, otypes=[np.float64])
STEPS = 40
"""Halvings when a bound is searched in [0, 1]: to 1e-12."""


def tuned(people: float, alpha: float) -> float:
    """ρ² of the mixture that is about the narrowest at so many people.

    Source: Waudby-Smith et al. 2024, section 2.3: ρ² = (-2 log α + log(-2 log α + 1)) / n.
    """
    most = -2.0 * math.log(alpha)
    return (most + math.log(most + 1.0)) / people


def margin(people: F64, variance: F64, rho2: float, alpha: float) -> F64:
    """Half the width of the mixture's interval around a mean of `people` values.

    Args:
        people: float64, any shape; > 0.
        variance: of one value, same shape.
        rho2: from `tuned`, fixed before the first look.
        alpha: how often, at most, the interval may ever miss the mean.
    """
    scaled = people * rho2
    factor = 2.0 * (scaled + 1.0) * (0.5 * np.log1p(scaled) - math.log(alpha)) / (people * scaled)
    return np.asarray(np.sqrt(variance * factor), np.float64)


def log_evidence(people: F64, mean: F64, variance: F64, rho2: float) -> F64:
    """Log of the e-value against a mean of 0: the interval at level α leaves out 0 just when this reaches log(1/α).

    An e-value has an expectation of at most 1 where there is no effect, at every time of looking.
    """
    scaled = people * rho2
    return np.asarray(people * scaled * mean**2 / (2.0 * variance * (scaled + 1.0)) - 0.5 * np.log1p(scaled))


def bounded(people: F64, total: F64, squares: F64, alpha: float, centre: float = 0.5) -> tuple[F64, F64]:
    """Exact bounds for the mean of values in [0, 1].

    Args:
        people: float64, any shape.
        total: sum of the values; `squares`: sum of their squares.
        alpha: how often, at most, either bound may ever be wrong. Half of it is for the beta mixture, which is the best
            for yes and no, half for the empirical-Bernstein one, the best for values that vary little.
        centre: a guess of the mean made before the data; a good one makes the interval narrow, a bad one only wide.
    Returns:
        (low, high), each of the shape of `people`.
    """
    spread = squares - 2.0 * centre * total + people * centre**2
    low, high = _tilted(people, total, alpha / 2.0)
    low = np.maximum(low, _lower(people, total, spread, alpha / 4.0))
    high = np.minimum(high, 1.0 - _lower(people, people - total, spread, alpha / 4.0))
    return low, high


def bounded_difference(
    first: tuple[float, float, float], second: tuple[float, float, float], alpha: float, centre: float = 0.5
) -> tuple[float, float]:
    """Exact bounds for how much higher the second mean is, both of values in [0, 1]; for guards that must hold early.

    Args:
        first, second: (how many, their sum, the sum of their squares); without any, nothing is known: (-1, 1).
        alpha: how often, at most, either bound may ever be wrong.
        centre: as in `bounded`; 0.0 for rates of rare events.
    """
    if not first[0] or not second[0]:
        return -1.0, 1.0
    people, total, squares = (np.array(pair) for pair in zip(first, second, strict=True))
    low, high = bounded(people, total, squares, alpha / 2.0, centre)
    return float(low[1] - high[0]), float(high[1] - low[0])


def _tilted(people: F64, total: F64, alpha: float) -> tuple[F64, F64]:
    """The means m with ∫ (q/m)^total · ((1-q)/(1-m))^(n-total) Beta(q; 1/2, 1/2) dq < 1/α: the best for yes and no.

    By convexity a value x in [0, 1] has E (q/m)^x · ((1-q)/(1-m))^(1-x) ≤ 1, so this is a supermartingale for any such
    values, and a martingale for those that are 0 or 1.
    """
    people, total = np.asarray(people, np.float64), np.clip(total, 0.0, people)
    rest = people - total
    beta = _lgamma(total + 0.5) + _lgamma(rest + 0.5) - _lgamma(people + 1.0)
    needed = -math.log(alpha) - beta + math.log(math.pi)
    mean = total / people
    bounds = []
    for end in (0.0, 1.0):
        outside, inside = np.full(mean.shape, end), mean
        for _ in range(STEPS):
            middle = (outside + inside) / 2.0
            with np.errstate(divide="ignore", invalid="ignore"):
                power = np.where(total > 0.0, total * np.log(middle), 0.0)
                power = power + np.where(rest > 0.0, rest * np.log1p(-middle), 0.0)
            refuted = -power >= needed
            outside, inside = np.where(refuted, middle, outside), np.where(refuted, inside, middle)
        bounds.append(outside)
    return bounds[0], bounds[1]


def _lower(people: F64, total: F64, spread: F64, alpha: float) -> F64:
    """The smallest mean m with Σ_k w_k exp(λ_k (total - n·m) - ψ(λ_k)·spread) < 1/α, ψ(λ) = -log(1 - λ) - λ.

    Each term is a nonnegative supermartingale for the true m, hence so is the mixture, and Ville's inequality bounds
    how often it ever reaches 1/α.
    """
    penalty = -np.log1p(-GRID) - GRID
    constant = np.asarray(spread)[..., None] * -penalty - math.log(len(GRID))
    low, high = np.zeros(np.shape(people)), np.ones(np.shape(people))
    for _ in range(STEPS):
        middle = (low + high) / 2.0
        terms = (total - people * middle)[..., None] * GRID + constant
        most = terms.max(axis=-1)
        refuted = most + np.log(np.exp(terms - most[..., None]).sum(axis=-1)) >= -math.log(alpha)
        low, high = np.where(refuted, middle, low), np.where(refuted, high, middle)
    return low
