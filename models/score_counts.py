"""How often which score met which outcome: all that measures and calibrations need, and all that devices tell of it.

A table is int64 (groups, BINS, 2): examples by group, bin of the logit z, and label below or from 0.5 on. Tables of
devices add up. Bins are EDGES apart in z; the two outermost are open. What a measure loses to them is within a bin's
width, a quarter of a nat.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import evaluate
from models.calibrate import Method, fit
from models.calibration import apply, logits
from models.spec import Calibration

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
EDGES = np.linspace(-8.0, 8.0, 65)
BINS = len(EDGES) + 1
ROWS_MAX = 200_000
"""A fit looks at so many rows; more are scaled down, in proportion."""


class Measure(Struct, frozen=True, kw_only=True):
    """What a group's counts say."""

    examples: int
    rate: float
    """Share of label 1."""
    log_loss: float
    """Nats."""
    ece: float
    auc: float
    """0.5 with one class only."""


def counted(scores: NDArray[np.floating], label: NDArray[np.floating], group: I64, groups: int, task: str) -> I64:
    """The table of some examples.

    Args:
        scores: (n,) as the model gives them, uncalibrated; what is not finite is not counted.
        label: (n,).
        group: (n,) in [0, groups).
        task: of the model's spec.
    """
    z = logits(scores, task)
    fine = np.isfinite(z) & np.isfinite(label)
    table = np.zeros((groups, BINS, 2), np.int64)
    np.add.at(table, (group[fine], np.searchsorted(EDGES, z[fine]), (label[fine] >= 0.5).astype(np.int64)), 1)
    return table


def fault(table: NDArray[np.generic], groups: int) -> str:
    """Why something is no table; empty: it is one."""
    if table.dtype != np.int64 or table.shape != (groups * BINS * 2,):
        return f"counts are {table.dtype} of shape {table.shape}"
    if (np.asarray(table, np.int64) < 0).any() or float(np.asarray(table, np.float64).sum()) > 2**31:
        return "counts are negative, or more than there can be"
    return ""


def rows(table: I64) -> tuple[F64, F64]:
    """Logits and labels that give one group's table (BINS, 2), each example at its bin's middle."""
    width = float(EDGES[1] - EDGES[0])
    middle = np.concatenate([EDGES - width / 2, [EDGES[-1] + width / 2]])
    total = int(table.sum())
    scaled = table if total <= ROWS_MAX else np.rint(table * (ROWS_MAX / total)).astype(np.int64)
    z = np.repeat(np.repeat(middle, 2), scaled.reshape(-1))
    return z, np.repeat(np.tile([0.0, 1.0], BINS), scaled.reshape(-1))


def measure(table: I64, calibration: Calibration) -> Measure:
    """What one group's table (BINS, 2) says of the model with this calibration."""
    z, label = rows(table)
    if not len(z):
        return Measure(examples=0, rate=0.0, log_loss=0.0, ece=0.0, auc=0.5)
    chance = apply(z.astype(np.float32), "rank", calibration)
    return Measure(
        examples=int(table.sum()),
        rate=float(label.mean()),
        log_loss=evaluate.log_loss(chance, label),
        ece=evaluate.ece(chance, label),
        auc=evaluate.auc(z, label) if 0.0 < label.mean() < 1.0 else 0.5,
    )


def calibration(method: Method, tables: Sequence[I64]) -> Calibration:
    """The calibration of least log loss on all groups' counts together."""
    z, label = rows(np.sum(tables, axis=0, dtype=np.int64))
    return fit(method, z, label, "rank")
