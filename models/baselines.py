"""What a model must beat to be worth its bytes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


def logistic_regression(x: F32, y: F32, test_x: F32, ridge: float = 1e-3, rounds: int = 25) -> F32:
    """Probabilities of a linear model fitted by Newton's method on standardised columns.

    Args:
        x, y: training rows (n, f) and labels (n,).
        test_x: rows to score (m, f).
        ridge: L2 penalty per row, on all but the intercept.
        rounds: Newton steps.
    Returns:
        float32 (m,), in [0, 1].
    Source: Bishop 2006, "Pattern Recognition and Machine Learning", section 4.3.3.
    """
    mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64) + 1e-12

    def design(rows: F32) -> NDArray[np.float64]:
        return np.column_stack([np.ones(len(rows)), (rows - mean) / scale])

    a = design(x)
    penalty = np.diag([0.0, *[ridge] * x.shape[1]]) * len(x)
    w = np.zeros(a.shape[1])
    for _ in range(rounds):
        p = _sigmoid(a @ w)
        hessian = a.T @ (a * (p * (1.0 - p))[:, None]) + penalty
        w -= np.linalg.solve(hessian, a.T @ (p - y) + penalty @ w)
    return _sigmoid(design(test_x) @ w).astype(np.float32)


def popularity(items: I64, count: int) -> F32:
    """How often each of `count` items was touched."""
    return np.bincount(items, minlength=count).astype(np.float32)


def follows(histories: Sequence[I64], count: int, within: int) -> F32:
    """How often item j came at most `within` places after item i, nearer ones counting more (1 / distance).

    Args:
        histories: items of each person, oldest first.
        count: length of the catalogue.
        within: places.
    Returns:
        float32 (count, count), from i in rows to j in columns.
    """
    table = np.zeros((count, count), np.float32)
    for items in histories:
        for distance in range(1, min(within, len(items) - 1) + 1):
            np.add.at(table, (items[:-distance], items[distance:]), 1.0 / distance)
    return table


def item_cosine(histories: Sequence[I64], count: int) -> F32:
    """Cosine between items by who touched them; float32 (count, count), zero on the diagonal.

    Source: Sarwar et al. 2001, "Item-based Collaborative Filtering Recommendation Algorithms".
    """
    touched = np.zeros((len(histories), count), np.float32)
    for person, items in enumerate(histories):
        touched[person, items] = 1.0
    together = touched.T @ touched
    norm = np.sqrt(np.maximum(np.diag(together), 1.0))
    np.fill_diagonal(together, 0.0)
    return np.asarray(together / norm[:, None] / norm, np.float32)


def smoothed_rate(items: I64, label: F32, count: int, prior: float = 100.0) -> F32:
    """Rate of positives of each of `count` items, pulled to the overall rate by `prior` pseudo-rows."""
    hits, shown = np.bincount(items, label, count), np.bincount(items, minlength=count)
    return np.asarray((hits + prior * label.mean()) / (shown + prior), np.float32)


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))
