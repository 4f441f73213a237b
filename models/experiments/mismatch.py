"""Sample-ratio mismatch: whether people came into the arms as declared. If not, no result of the experiment counts.

The test may be looked at any time. It compares "as declared" with shares drawn from a Dirichlet distribution around
what was declared, by the exact ratio of their probabilities; under "as declared" the ratio has expectation 1 at every
time.

Source: Lindon and Malek 2022, "Anytime-Valid Inference for Multinomial Count Data"; why it matters: Fabijan et al.
2019, "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments".
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
CONCENTRATION = 1_000.0
"""How close to the declared shares a mismatch is looked for: within about 1.6 points of one half."""
ALPHA = 0.01
"""How often an experiment without a mismatch may ever be called one with."""

_lgamma = np.vectorize(math.lgamma, otypes=[np.float64])


def log_evidence(counts: F64, shares: Sequence[float], concentration: float = CONCENTRATION) -> F64:
    """Log of the e-value against the declared shares.

    Args:
        counts: float64 (…, arms), people so far; they need not be whole.
        shares: probability of each arm.
    Returns:
        float64 (…,); infinite when somebody is in an arm that nobody could come into.
    """
    p = np.asarray(shares, np.float64)
    counts = np.maximum(counts, 0.0)
    impossible = (counts[..., p <= 0.0] > 0.0).any(axis=-1)
    counts, p = counts[..., p > 0.0], p[p > 0.0]
    people = counts.sum(axis=-1)
    prior = concentration * p
    ratio = math.lgamma(concentration) - _lgamma(concentration + people)
    ratio = ratio + (_lgamma(prior + counts) - _lgamma(prior) - counts * np.log(p)).sum(axis=-1)
    return np.where(impossible, np.inf, ratio)


def evidence(counts: Mapping[int, F64], shares: Mapping[int, Sequence[float]], noise: float = 0.0) -> float:
    """The same over all allocations of an experiment: their e-values multiply.

    Args:
        counts: allocation → float64 (arms,).
        shares: allocation → probability of each arm.
        noise: standard deviation of the noise that was added to each count for privacy; it makes shares look uneven, so
            counts weigh as much less as it widens the smallest arm's chance spread.
    """
    total = 0.0
    for number, count in counts.items():
        if number not in shares:
            continue
        p = np.asarray(shares[number], np.float64)
        people = float(np.maximum(count, 0.0).sum())
        spread = people * float((p * (1.0 - p))[p > 0.0].min(initial=0.25))
        weight = spread / (spread + noise**2) if noise and spread else 1.0
        where = p > 0.0 if noise else np.ones(len(p), np.bool_)
        if people and where.sum() > 1:
            total += float(log_evidence(count[where] * weight, p[where] / p[where].sum()))
    return total
