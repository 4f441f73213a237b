"""Averages that a minority of hostile devices cannot move far, and what marks a device as hostile.

Every rule takes the clients' updates as rows of one matrix and counts each client once: a client's own word on how
many examples it has is no weight here.

What they are for, where `n` clients report and at most `f` of them are hostile:

===========  ==============  ==================================================================================
rule         needs           source
===========  ==============  ==================================================================================
median       n > 2f          Yin et al. 2018, "Byzantine-Robust Distributed Learning", definition 1
trimmed      n > 2f          the same, definition 2
krum         n ≥ 2f + 3      Blanchard et al. 2017, "Machine Learning with Adversaries", section 4
multi-krum   n ≥ 2f + 3      the same, section 6
bulyan       n ≥ 4f + 3      El Mhamdi et al. 2018, "The Hidden Vulnerability of Distributed Learning", section 4
norm-median  n > 2f          each row scaled down to the median of the norms, then the mean; bounds, does not choose
===========  ==============  ==================================================================================

Median and trimmed mean work a coordinate at a time. Where each client moves only the rows of a few items, most entries
of a coordinate are zero, and so is their median: for catalogues choose multi-krum or norm-median.
"""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator.errors import AggregationFailed
from coordinator.rule_names import Rule

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
TIE = 1e-9
"""Scores that differ by less, relatively, are the same: they are sums of the same distances in another order."""


class Combined(Struct, frozen=True, kw_only=True):
    """What a rule made of the updates."""

    update: F64
    """(d,)."""
    used: tuple[int, ...]
    """Rows that have a part in it."""
    suspects: tuple[int, ...]
    """Rows that it left out; for rules that choose rows. One round's suspicion proves nothing."""


def needed(rule: Rule, hostile: int) -> int:
    """Reports that the rule needs to bear so many hostile ones."""
    match rule:
        case "krum" | "multi-krum":
            return 2 * hostile + 3
        case "bulyan":
            return 4 * hostile + 3
        case _:
            return 2 * hostile + 1


def combine(rule: Rule, updates: F64, share: float) -> Combined:
    """One update out of many.

    Args:
        rule: which.
        updates: float64 (n, d), finite.
        share: of the clients that may be hostile, in [0, 0.5); f = floor(share · n).
    Raises:
        AggregationFailed: too few reports for so many hostile ones, or the share is out of its range.
    """
    if not 0.0 <= share < 0.5:
        raise AggregationFailed(f"a share of {share:g} hostile devices cannot be borne", hint="less than a half")
    if updates.ndim != 2 or not np.isfinite(updates).all():
        raise AggregationFailed("the updates are not one finite row a device", hint="check them first")
    count = len(updates)
    hostile = math.floor(share * count)
    if count < needed(rule, hostile):
        raise AggregationFailed(
            f"`{rule}` bears {hostile} hostile devices from {needed(rule, hostile)} reports on; there are {count}",
            hint="wait for more reports, or choose a smaller share",
        )
    match rule:
        case "median":
            return _all(np.median(updates, axis=0), count)
        case "trimmed":
            return _all(_trimmed(updates, hostile), count)
        case "norm-median":
            return _all(_bounded(updates).mean(axis=0), count)
        case "krum":
            between = squared_distances(updates)
            return _chosen(updates, [_best(krum_scores(between, hostile), updates)])
        case "multi-krum":
            scores = krum_scores(squared_distances(updates), hostile)
            return _chosen(updates, np.argsort(scores, kind="stable")[: count - hostile].tolist())
        case "bulyan":
            return _bulyan(updates, hostile)


def squared_distances(updates: F64) -> F64:
    """Between all pairs of rows, (n, n), zero on the diagonal."""
    squares = np.einsum("nd,nd->n", updates, updates)
    between = squares[:, None] + squares[None, :] - 2.0 * updates @ updates.T
    between[np.arange(len(updates)), np.arange(len(updates))] = 0.0
    return np.asarray(np.maximum(between, 0.0), np.float64)


def krum_scores(between: F64, hostile: int) -> F64:
    """Sum of the squared distances to the n - f - 2 nearest others, (n,); small is trustworthy."""
    near = max(1, len(between) - hostile - 2)
    return np.asarray(np.sort(between, axis=1)[:, 1 : 1 + near].sum(axis=1), np.float64)


def _best(scores: F64, updates: F64) -> int:
    """The row with the least score; of two that are each other's nearest, the one whose numbers are smaller.

    Otherwise the order in which reports came in would choose.
    """
    tied = np.flatnonzero(scores <= scores.min() * (1.0 + TIE))
    return int(tied[0]) if len(tied) == 1 else int(min(tied, key=lambda n: updates[n].tolist()))


def _trimmed(updates: F64, hostile: int) -> F64:
    """The mean of each coordinate without its f smallest and f largest values."""
    ordered = np.sort(updates, axis=0)
    return np.asarray(ordered[hostile : len(updates) - hostile].mean(axis=0), np.float64)


def _bounded(updates: F64) -> F64:
    norms = np.sqrt(np.einsum("nd,nd->n", updates, updates))
    most = float(np.median(norms))
    shrink = np.divide(most, norms, out=np.ones_like(norms), where=norms > most)
    return np.asarray(updates * shrink[:, None], np.float64)


def _bulyan(updates: F64, hostile: int) -> Combined:
    """Choose n - 2f rows by Krum one after the other; then of each coordinate the mean of those nearest its median."""
    between = squared_distances(updates)
    left = list(range(len(updates)))
    chosen: list[int] = []
    for _ in range(len(updates) - 2 * hostile):
        scores = krum_scores(between[np.ix_(left, left)], hostile)
        chosen.append(left.pop(_best(scores, updates[left])))
    rows = updates[sorted(chosen)]
    keep = len(rows) - 2 * hostile
    off = np.abs(rows - np.median(rows, axis=0))
    nearest = np.argsort(off, axis=0, kind="stable")[:keep]
    update = np.take_along_axis(rows, nearest, axis=0).mean(axis=0)
    return Combined(update=np.asarray(update, np.float64), used=tuple(sorted(chosen)), suspects=tuple(sorted(left)))


def _all(update: F64, count: int) -> Combined:
    return Combined(update=np.asarray(update, np.float64), used=tuple(range(count)), suspects=())


def _chosen(updates: F64, rows: list[int]) -> Combined:
    used = sorted(rows)
    suspects = tuple(n for n in range(len(updates)) if n not in set(used))
    return Combined(update=np.asarray(updates[used].mean(axis=0), np.float64), used=tuple(used), suspects=suspects)
