"""Fitting a calibration on rows that the model was not trained on, and what it gains.

`models.calibration.apply` is what agents do with it; the spec's `Calibration` holds the few numbers that are needed.
"""

from itertools import pairwise
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import evaluate
from models.calibration import apply, logits, sigmoid
from models.limits import KNOTS_MAX
from models.spec import Calibration

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Method = Literal["none", "temperature", "platt", "isotonic"]

_STEPS = 50
"""Newton steps; the losses are convex in one or two numbers, so few are needed."""
BLOCKS_MAX = KNOTS_MAX // 2
"""Of an isotonic fit: more only follow noise, and bundle.toml stays short."""


class Gain(Struct, frozen=True, kw_only=True):
    """A measure before and after calibration, on rows that neither training nor fitting saw."""

    ece_before: float
    ece_after: float
    log_loss_before: float
    """Nats."""
    log_loss_after: float


def fit(method: Method, scores: NDArray[np.floating], label: NDArray[np.floating], task: str) -> Calibration:
    """The calibration of least log loss on these rows.

    Args:
        method: which; `none` fits nothing.
        scores: (n,) from rows that the model was not trained on.
        label: (n,) 0 or 1. With one class only there is nothing to fit, and `none` comes back.
    """
    if method == "none" or len(np.unique(label > 0.5)) < 2:
        return Calibration()
    z, y = logits(scores, task), label.astype(np.float64)
    if method == "temperature":
        return Calibration(method="temperature", temperature=float(1.0 / _slope(z, y)))
    if method == "platt":
        scale, offset = _line(z, y)
        return Calibration(method="platt", scale=scale, offset=offset)
    return _isotonic(z, y)


def gain(calibration: Calibration, scores: F32, label: NDArray[np.floating], task: str) -> Gain:
    """What the calibration does to rows that it was not fitted on."""
    before, after = apply(scores, task, Calibration()), apply(scores, task, calibration)
    return Gain(
        ece_before=evaluate.ece(before, label),
        ece_after=evaluate.ece(after, label),
        log_loss_before=evaluate.log_loss(before, label),
        log_loss_after=evaluate.log_loss(after, label),
    )


def _slope(z: F64, y: F64) -> float:
    """1 / temperature: Newton on log a, so that it stays above 0.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.
    """
    size = 0.0
    for _ in range(_STEPS):
        a = np.exp(size)
        p = sigmoid(a * z)
        first = float(((p - y) * z).mean() * a)
        second = float((p * (1.0 - p) * z * z).mean() * a * a)
        size = float(np.clip(size - np.clip(first / (second + 1e-12), -1.0, 1.0), -5.0, 5.0))
    return float(np.exp(size))


def _line(z: F64, y: F64) -> tuple[float, float]:
    """Scale and offset, towards labels that are pulled a little to the middle.

    Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines", section 2.2.
    """
    ones, zeros = float((y > 0.5).sum()), float((y <= 0.5).sum())
    target = np.where(y > 0.5, (ones + 1.0) / (ones + 2.0), 1.0 / (zeros + 2.0))
    middle, spread = z.mean(), z.std() + 1e-12
    design = np.column_stack([(z - middle) / spread, np.ones_like(z)])
    w = np.array([spread, middle])
    for _ in range(_STEPS):
        p = sigmoid(design @ w)
        hessian = design.T @ (design * (p * (1.0 - p))[:, None]) / len(z) + 1e-9 * np.eye(2)
        move = np.linalg.solve(hessian, design.T @ (p - target) / len(z))
        w = w - move * min(1.0, 5.0 / (float(np.abs(move).max()) + 1e-12))
    return float(w[0] / spread), float(w[1] - w[0] * middle / spread)


def _isotonic(z: F64, y: F64) -> Calibration:
    """Pooled neighbours, each block a knot at its mean z, so that lines between knots rise without steps.

    Sources: Zadrozny and Elkan 2002, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates";
    Oron and Flournoy 2017, "Centered Isotonic Regression".
    """
    order = np.argsort(z, kind="stable")
    blocks: list[tuple[float, float, float]] = []  # rows, mean z, mean label
    for value, label in zip(z[order], y[order], strict=True):
        blocks.append((1.0, float(value), float(label)))
        while len(blocks) > 1 and (blocks[-2][2] >= blocks[-1][2] or blocks[-2][1] >= blocks[-1][1]):
            blocks[-2:] = [_joined(blocks[-2], blocks[-1])]
    while len(blocks) > BLOCKS_MAX:
        cost = [(b[2] - a[2]) ** 2 * a[0] * b[0] / (a[0] + b[0]) for a, b in pairwise(blocks)]
        at = int(np.argmin(cost))
        blocks[at : at + 2] = [_joined(blocks[at], blocks[at + 1])]
    if len(blocks) < 2:
        return Calibration()  # the scores say nothing, or the opposite
    edge = 1.0 / (len(y) + 2.0)  # no finite sample shows that something never happens
    return Calibration(
        method="isotonic",
        knots=tuple(block[1] for block in blocks),
        levels=tuple(float(np.clip(block[2], edge, 1.0 - edge)) for block in blocks),
    )


def _joined(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    rows = a[0] + b[0]
    return rows, (a[0] * a[1] + b[0] * b[1]) / rows, (a[0] * a[2] + b[0] * b[2]) / rows
