"""How sure an off-policy value is: normal, bootstrap and empirical-Bernstein intervals, over rounds or clusters.

The normal interval leans on n being large, the bootstrap on the log looking like the world, empirical Bernstein on
neither, only on a bound of the terms; it is wide for that. Resampling is seeded: the same log, the same interval.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.offpolicy.estimators import F64, Index, Rounds, Terms, direct, doubly_robust, ips, snips

SAMPLES = 2_000
_CHUNK = 4_000_000
"""Numbers drawn at once, so that memory stays bounded."""


class Interval(Struct, frozen=True, kw_only=True):
    """Two ends, both meant."""

    low: float
    high: float


class Value(Struct, frozen=True, kw_only=True):
    """What an estimator says, and how far to trust it."""

    value: float
    standard_error: float
    """Of the linearised estimator (delta method), over clusters where there are some."""
    normal: Interval
    bootstrap: Interval
    """Percentiles of resampled rounds, or of resampled clusters."""
    bernstein: Interval | None = None
    """Holds for any n; only for plain means of independent rounds whose terms are bounded."""


class Confidence(Struct, frozen=True, kw_only=True):
    """How intervals are made."""

    level: float = 0.95
    seed: int = 0
    samples: int = SAMPLES
    """Resamples of the bootstrap."""


def estimates(rounds: Rounds, clip: float | None, confidence: Confidence) -> dict[str, Value]:
    """Every estimator that the rounds allow, by name: `ips`, `snips`, and with a reward model `dm`, `dr`.

    The range of an IPS term is that of its weights, 0 to `clip`, or to the largest inverse propensity of the log where
    nothing is clipped: that the log's policy was nowhere bolder is then an assumption. Rewards are taken to lie in
    [0, 1] and a DR term in the range of its weights to both sides.
    """
    most = clip if clip is not None else float((1.0 / rounds.logged).max())
    reward = max(1.0, float(np.abs(rounds.reward).max()))
    found = {
        "ips": valued(ips(rounds, clip), rounds.cluster, confidence, width=most * reward),
        "snips": valued(snips(rounds, clip), rounds.cluster, confidence),
    }
    if rounds.fitted is not None:
        found["dm"] = valued(direct(rounds.fitted), rounds.cluster, confidence)
        robust = doubly_robust(rounds, rounds.fitted, clip)
        found["dr"] = valued(robust, rounds.cluster, confidence, width=(2.0 * most + 1.0) * reward)
    return found


def valued(terms: Terms, cluster: Index | None, confidence: Confidence, width: float | None = None) -> Value:
    """An estimator's value with its intervals.

    Args:
        terms: the estimator over the log.
        cluster: (n,), which rounds belong together; None: each stands alone.
        confidence: level, seed and resamples.
        width: of the range that one term can take, for the empirical-Bernstein interval; None: no such interval.
    """
    value, error = terms.value, standard_error(terms, cluster)
    half = NormalDist().inv_cdf(0.5 + confidence.level / 2.0) * error
    low, high = _ends(resampled([terms], cluster, confidence)[0], confidence.level)
    bounded = terms.mean and width is not None and cluster is None and len(terms.numerator) > 1
    return Value(
        value=value,
        standard_error=error,
        normal=Interval(low=value - half, high=value + half),
        bootstrap=Interval(low=low, high=high),
        bernstein=_bernstein(terms.numerator, width or 0.0, confidence.level) if bounded else None,
    )


def relative(first: Terms, second: Terms, cluster: Index | None, confidence: Confidence) -> tuple[float, Interval]:
    """(`first` ÷ `second`, its bootstrap interval): both on the same log, so resampled together."""
    drawn = resampled([first, second], cluster, confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = _ends(drawn[0] / drawn[1], confidence.level)
    return first.value / second.value if second.value else float("nan"), Interval(low=low, high=high)


def gain(first: Terms, second: Terms, cluster: Index | None, confidence: Confidence) -> tuple[float, Interval]:
    """(`first` - `second`, its bootstrap interval): both on the same log, so resampled together."""
    drawn = resampled([first, second], cluster, confidence)
    low, high = _ends(drawn[0] - drawn[1], confidence.level)
    return first.value - second.value, Interval(low=low, high=high)


def standard_error(terms: Terms, cluster: Index | None) -> float:
    """Of a ratio of sums, by the delta method; over clusters their sums are what is independent.

    Source: Owen 2013, "Monte Carlo theory, methods and examples", section 9.2 (self-normalised); Liang and Zeger 1986,
    "Longitudinal data analysis using generalized linear models" (clusters).
    """
    total = float(terms.denominator.sum())
    if total <= 0.0:
        return float("nan")
    residual = _summed(terms.numerator - terms.value * terms.denominator, cluster)
    count = len(residual)
    if count < 2:
        return float("nan")
    return float(np.sqrt(count / (count - 1.0) * (residual**2).sum())) / total


def resampled(terms: Sequence[Terms], cluster: Index | None, confidence: Confidence) -> list[F64]:
    """Values of several estimators over the same resamples of the log.

    Returns:
        float64 (samples,) each; a resample with nothing to divide by gives NaN.
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 6 and 13.
    """
    columns = [_summed(column, cluster) for one in terms for column in (one.numerator, one.denominator)]
    stacked = np.stack(columns, axis=1)
    count = len(stacked)
    dice = np.random.default_rng(confidence.seed)
    part = max(1, _CHUNK // count)
    sums = []
    for start in range(0, confidence.samples, part):
        rows = dice.integers(0, count, (min(part, confidence.samples - start), count))
        sums.append(np.stack([column[rows].sum(axis=1) for column in stacked.T], axis=1))
    drawn = np.concatenate(sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        return [
            np.where(drawn[:, 2 * n + 1] > 0.0, drawn[:, 2 * n] / drawn[:, 2 * n + 1], np.nan)
            for n in range(len(terms))
        ]


def _bernstein(terms: F64, width: float, level: float) -> Interval:
    """Maurer and Pontil 2009, "Empirical Bernstein Bounds and Sample Variance Penalization", theorem 4, both sides."""
    count = len(terms)
    tail = float(np.log(4.0 / (1.0 - level)))
    half = float(np.sqrt(2.0 * terms.var(ddof=1) * tail / count)) + 7.0 * width * tail / (3.0 * (count - 1))
    middle = float(terms.mean())
    return Interval(low=middle - half, high=middle + half)


def _summed(column: F64, cluster: Index | None) -> F64:
    return column if cluster is None else np.asarray(np.bincount(cluster, weights=column), np.float64)


def _ends(drawn: NDArray[np.float64], level: float) -> tuple[float, float]:
    sound = drawn[np.isfinite(drawn)]
    if not len(sound):
        return float("nan"), float("nan")
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(sound, [tail, 100.0 - tail])
    return float(low), float(high)
