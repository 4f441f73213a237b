"""Whom a model serves worse, and who is shown what: sums by group that devices add up, and the gaps between groups.

One vector holds everything that a device tells: for each group (the declared ones, and `other`) the sum of predicted
chances, and how often which score met which outcome; then for each placement how often each group was shown each item
first. Both halves are scaled down to a norm of their own, so a device with much to tell counts no more than others
beyond that norm, and its proportions stay as they are.

Intervals are simultaneous (Bonferroni over all pairs compared) and cover both what the noise does and what chance does
with so few observations; the latter by taking the mass of the sums as the number of observations, which is never more
than there were.
"""

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from firmware_configs.subgroups import BINS, CELLS, FALLBACK, Shape
from models.calibration import apply, logits
from models.spec import Calibration

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
EDGES = np.linspace(-7.0, 7.0, BINS - 1)
"""Of the logit; the two outermost bins are open."""
DRAWS = 400
CONFIDENCE = 0.95
CLEAR = 4.0
"""Standard deviations of the noise that a sum must be above, to be divided by."""
Verdict = Literal["within", "exceeds", "not known"]


class Group(Struct, frozen=True, kw_only=True):
    """What the sums say of one group."""

    mass: float
    """Examples, as they were counted after scaling: never more than there were."""
    rate: float
    """Share of label 1."""
    auc: float
    calibration: float
    """Mean predicted chance less the rate."""


class Gap(Struct, frozen=True, kw_only=True):
    """The largest difference between two groups, and what it may be."""

    what: str
    """`auc`, `calibration`, or `exposure of ITEM at PLACEMENT`."""
    between: tuple[str, str]
    """Who has more, who has less."""
    value: float
    low: float
    high: float
    limit: float
    verdict: Verdict


def quality(
    scores: NDArray[np.floating], label: NDArray[np.floating], group: I64, shape: Shape, task: str, own: Calibration
) -> F64:
    """The first half of a vector, of some examples.

    Args:
        scores: (n,) as the model gives them, uncalibrated; what is not finite is not counted.
        label: (n,).
        group: (n,) places in `shape.groups`.
        task: of the model's spec.
        own: the calibration that the model has.
    Returns:
        float64 (shape.quality_size,).
    """
    z = logits(scores, task)
    fine = np.isfinite(z) & np.isfinite(label)
    z, one, group = z[fine], (label[fine] >= 0.5).astype(np.int64), group[fine]
    table = np.zeros((len(shape.groups), CELLS))
    if len(z):
        np.add.at(table, (group, 1 + 2 * np.searchsorted(EDGES, z) + one), 1.0)
        np.add.at(
            table,
            (group, np.zeros_like(group)),
            apply(np.asarray(scores, np.float32)[fine], task, own).astype(np.float64),
        )
    return table.reshape(-1)


def exposure(shown: Sequence[tuple[str, str, bool, int]], shape: Shape) -> F64:
    """The second half.

    Args:
        shown: (placement, first item, whether a model had a say, group) of each decision; others' placements and items
            that are not the placement's own are not counted.
    Returns:
        float64 (shape.size - shape.quality_size,).
    """
    known = {place.name: place for place in shape.places}
    tables = {place.name: np.zeros((len(shape.groups), len(place.cells))) for place in shape.places}
    for name, item, by_model, group in shown:
        place = known.get(name)
        cell = (item if place.items else "") if place is not None and by_model else FALLBACK
        if place is not None and cell in place.cells:
            tables[name][group, place.cells.index(cell)] += 1.0
    return np.concatenate([table.reshape(-1) for table in tables.values()]) if tables else np.zeros(0)


def bounded(own: F64, shown: F64, norm: float) -> F64:
    """Both halves end to end, of an L2 norm of `norm` or less; each is scaled by itself."""
    share = norm if not len(shown) else norm / sqrt(2.0)
    return np.concatenate([part * min(1.0, share / max(float(np.linalg.norm(part)), 1e-12)) for part in (own, shown)])


def groups_of(total: F64, shape: Shape) -> dict[str, Group]:
    """What a sum says of each group."""
    tables = total[: shape.quality_size].reshape(len(shape.groups), CELLS)
    found = {}
    for name, table in zip(shape.groups, tables, strict=True):
        mass, rate, auc, off = _figures(table[None])
        found[name] = Group(mass=float(mass[0]), rate=float(rate[0]), auc=float(auc[0]), calibration=float(off[0]))
    return found


def exposures_of(total: F64, shape: Shape) -> dict[str, dict[str, dict[str, float]]]:
    """Placement → group → what was shown first → share of the group's decisions."""
    return {
        place.name: {
            group: dict(zip(place.cells, map(float, row), strict=True))
            for group, row in zip(shape.groups, _shares(_of_place(total[None], shape, n))[0], strict=True)
        }
        for n, place in enumerate(shape.places)
    }


def gaps(total: F64, shape: Shape, deviation: float, limits: dict[str, float], dice: np.random.Generator) -> list[Gap]:
    """The gaps between groups, each with its interval and its limit.

    Args:
        total: the devices' vectors added up, with the noise.
        deviation: standard deviation of the noise on each number; 0: none.
        limits: `auc`, `calibration` and `exposure` → the largest gap that is all right.
        dice: for the intervals.
    """
    # What other sums might as well have come out: counts scatter as Poisson's do, noise as its deviation says. Sums
    # that noise made negative stay so: cut at 0, they would draw every figure to the middle.
    spread = np.sqrt(np.clip(total, 0.0, None) + deviation**2)
    drawn = total + spread * dice.normal(size=(DRAWS, len(total)))
    now, then = (_figures(one[:, : shape.quality_size].reshape(-1, CELLS)) for one in (total[None], drawn))
    mass, rate = now[0], now[1]
    # Fewer of one label than the noise on their sum might make: nothing is known of the group.
    there = np.minimum(rate, 1.0 - rate) * mass > CLEAR * deviation * sqrt(BINS)
    found = []
    for name, at in (("auc", 2), ("calibration", 3)):
        values = now[at][None], then[at].reshape(DRAWS, -1)
        found.append(_gap(name, *values, there, shape.groups, limits[name], 1))
    for n, place in enumerate(shape.places):
        counts, other = (_of_place(some, shape, n) for some in (total[None], drawn))
        there = counts[0].sum(1) > CLEAR * deviation * sqrt(len(place.cells))
        shown, might = _shares(counts), _shares(other)
        for m, cell in enumerate(place.cells):
            what = f"exposure of {cell or 'a model’s choice'} at {place.name}"
            args = shown[..., m], might[..., m], there, shape.groups, limits["exposure"], len(place.cells)
            found.append(_gap(what, *args))
    return found


def _figures(tables: F64) -> tuple[F64, F64, F64, F64]:
    """Mass, share of ones, AUC and calibration of tables (n, CELLS), each (n,)."""
    counts = tables[:, 1:].reshape(len(tables), BINS, 2)
    zeros, ones = counts[..., 0], counts[..., 1]
    mass, positive = counts.sum((1, 2)), ones.sum(1)
    rate = positive / np.maximum(mass, 1e-12)
    below = np.cumsum(zeros, axis=1) - zeros / 2.0
    pairs = positive * zeros.sum(1)
    auc = np.where(pairs > 0.0, (ones * below).sum(1) / np.maximum(pairs, 1e-12), 0.5)  # Mann-Whitney; a tie is half
    return mass, rate, auc, tables[:, 0] / np.maximum(mass, 1e-12) - rate


def _of_place(totals: F64, shape: Shape, n: int) -> F64:
    """(draws, groups, cells) of the n-th placement."""
    sizes = [len(shape.groups) * len(place.cells) for place in shape.places]
    at = shape.quality_size + sum(sizes[:n])
    return totals[:, at : at + sizes[n]].reshape(len(totals), len(shape.groups), -1)


def _shares(tables: F64) -> F64:
    return np.asarray(tables / np.maximum(tables.sum(-1, keepdims=True), 1e-12), np.float64)


def _gap(
    what: str, now: F64, drawn: F64, there: NDArray[np.bool_], groups: Sequence[str], limit: float, cells: int
) -> Gap:
    """The widest pair; low and high are the widest pair's that can be claimed, and the widest that can be."""
    pairs = list(combinations(np.flatnonzero(there), 2))
    if not pairs:
        return Gap(what=what, between=("", ""), value=0.0, low=0.0, high=1.0, limit=limit, verdict="not known")
    # Two-sided, over all pairs and all cells of a placement at once.
    z = NormalDist().inv_cdf(1.0 - (1.0 - CONFIDENCE) / (2.0 * len(pairs) * cells))
    value = np.array([now[0, i] - now[0, j] for i, j in pairs])
    error = np.array([float((drawn[:, i] - drawn[:, j]).std()) for i, j in pairs])
    low, high = float(np.max(np.abs(value) - z * error)), float(np.max(np.abs(value) + z * error))
    widest = int(np.argmax(np.abs(value)))
    i, j = pairs[widest] if value[widest] >= 0.0 else pairs[widest][::-1]
    verdict: Verdict = "exceeds" if low > limit else "within" if high <= limit else "not known"
    return Gap(
        what=what,
        between=(groups[int(i)], groups[int(j)]),
        value=float(abs(value[widest])),
        low=max(0.0, low),
        high=min(high, 2.0),
        limit=limit,
        verdict=verdict,
    )
