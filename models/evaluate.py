"""How good a model is, in the field's usual measures, each with its protocol stated by the caller.

Ties never help: an item that scores the same as the held-out one counts as ranked before it.
"""

from collections.abc import Callable, Sequence

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


def mrr(rank: I64) -> float:
    """Mean reciprocal rank, 1 / (rank + 1), over all ranks, however far down."""
    return float((1.0 / (rank + 1.0)).mean())


def full_ranks(scores: NDArray[np.floating], held_out: I64, seen: Sequence[I64]) -> I64:
    """Position of each person's held-out item among every item that the person has not touched, 0 is best.

    Args:
        scores: (u, items).
        held_out: (u,) column of the item that is looked for.
        seen: for each person the columns that do not compete; the held-out item may be among them.
    Returns:
        int64 (u,). Sampled candidates reorder methods (Krichene and Rendle 2020), so state this beside them.
    """
    competes = np.ones(scores.shape, bool)
    for row, columns in enumerate(seen):
        competes[row, columns] = False
    target = scores[np.arange(len(held_out)), held_out][:, None]
    above = ~(scores < target) & competes  # what is not a number is a miss
    above[np.arange(len(held_out)), held_out] = False
    return np.asarray(above.sum(axis=1), np.int64)


def chance_within(rank: I64, others: I64, sampled: int, k: int = 10) -> NDArray[np.float64]:
    """For each person the chance of a hit among the first k over all draws of `sampled` competitors.

    Args:
        rank: place in the full ranking, (u,).
        others: how many items compete in the full ranking, (u,).
        sampled: competitors drawn without replacement; at most `others`.
    Returns:
        float64 (u,): the hypergeometric probability of fewer than k better items among those drawn. Its mean is the
        sampled hit rate without the luck of one draw (Krichene and Rendle 2020, section 3).
    """
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, int(others.max(initial=0)) + 1)))])

    def choose(n: I64, r: I64) -> NDArray[np.float64]:
        inside = (r >= 0) & (r <= n)
        r = np.clip(r, 0, n)
        return np.where(inside, logs[n] - logs[r] - logs[n - r], -np.inf)

    count = np.minimum(sampled, others)
    chance = np.zeros(len(rank))
    for better in range(min(k, sampled + 1)):
        drawn = np.full(len(rank), better, np.int64)
        chance += np.exp(choose(rank, drawn) + choose(others - rank, count - drawn) - choose(others, count))
    return np.minimum(chance, 1.0)


def ece(probability: NDArray[np.floating], label: NDArray[np.floating], bins: int = 15) -> float:
    """Expected calibration error: the gap between what is said and what happens, over bins of equal width.

    Returns:
        Σ over bins of (share of rows · |mean probability − mean label|); in [0, 1].
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    at = np.minimum((probability.astype(np.float64) * bins).astype(np.int64), bins - 1)
    gap = np.bincount(at, probability.astype(np.float64) - label, bins)
    return float(np.abs(gap).sum() / len(label))


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
