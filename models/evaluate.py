"""How good a model is, in the field's usual measures, each with its protocol stated by the caller.

Ties never help: an item that scores the same as the held-out one counts as ranked before it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Measure = Callable[[NDArray[np.floating], NDArray[np.floating]], float]


def ranks(scores: NDArray[np.floating]) -> I64:
    """Position of the first column among all columns, 0 is best; shape (u, 1 + negatives) → (u,)."""
    # Written so that a score that is not a number never helps either.
    return np.asarray((~(scores[:, 1:] < scores[:, :1])).sum(axis=1), np.int64)


def hit_rate(rank: I64, k: int = 10) -> float:
    """Share of people whose held-out item is among the first k."""
    return float((rank < k).mean())


def ndcg(rank: I64, k: int = 10) -> float:
    """Normalised discounted cumulative gain with one relevant item: 1 / log2(rank + 2) within the first k.

    Source: He et al. 2017, "Neural Collaborative Filtering", section 4.1.
    """
    return float(np.where(rank < k, 1.0 / np.log2(rank + 2.0), 0.0).mean())


def auc(score: NDArray[np.floating], label: NDArray[np.floating]) -> float:
    """Chance that a positive scores above a negative, ties count half; nan without both classes."""
    values, which, counts = np.unique(score, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - (counts - 1) / 2.0)[which] if values.size else np.zeros(0)
    positive = label > 0.5
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return float("nan")
    return float((middle[positive].sum() - ones * (ones + 1) / 2.0) / (ones * zeros))


def log_loss(probability: NDArray[np.floating], label: NDArray[np.floating]) -> float:
    """Mean negative log likelihood in nats; probabilities are clipped to [1e-7, 1 - 1e-7]."""
    p = np.clip(probability.astype(np.float64), 1e-7, 1.0 - 1e-7)
    return float(-(label * np.log(p) + (1.0 - label) * np.log1p(-p)).mean())


def accuracy(probability: NDArray[np.floating], label: NDArray[np.floating]) -> float:
    """Share of rows on the right side of one half."""
    return float(((probability >= 0.5) == (label >= 0.5)).mean())


def f1(probability: NDArray[np.floating], label: NDArray[np.floating]) -> float:
    """Harmonic mean of precision and recall at one half; 0 without true positives."""
    said, true = probability >= 0.5, label >= 0.5
    hits = float((said & true).sum())
    return 2.0 * hits / float(said.sum() + true.sum()) if hits else 0.0


def interval(
    measure: Measure,
    score: NDArray[np.floating],
    label: NDArray[np.floating],
    seed: int,
    samples: int = 400,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a measure over rows."""
    dice = np.random.default_rng(seed)
    drawn = [measure(score[rows], label[rows]) for rows in dice.integers(0, len(label), (samples, len(label)))]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)
