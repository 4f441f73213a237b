"""What bandits of many devices have seen, as one vector a device: vectors add up, and the sum is a warm start.

A vector holds, for each row of the catalogue (or once, for all items of a bundle without one), either the rewards and
what was missing to one, or the statistics of a regression: the lower triangle of A, then b, then n (`models.ridge`).
Scaling a vector down is the same as having seen so many rewards less, so clipping leaves it meaningful.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import warm_start
from models.errors import SpecInvalid
from models.ridge import Statistics, faded
from models.spec import Spec

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Kind = Literal["rewards", "regressions"]
SIZE_MAX = 4_000_000
"""Numbers of a vector: 16 MB."""
ITEM_MAX = 4_096
"""Feature columns of a regression; with more, a vector of one item is beyond `SIZE_MAX`."""


class Form(Struct, frozen=True, kw_only=True):
    """What stands in a vector."""

    kind: Kind
    items: int
    """Rows of the catalogue; 1 for regressions of a bundle without one."""
    width: int = 0
    """d of a regression; 0 of rewards."""

    @property
    def each(self) -> int:
        """Numbers of one item."""
        return 2 if self.kind == "rewards" else self.width * (self.width + 1) // 2 + self.width + 1

    @property
    def size(self) -> int:
        """Numbers of the vector."""
        return self.items * self.each


def form_of(kind: Kind, spec: Spec, catalogue: int) -> Form:
    """The form for a bundle.

    Args:
        catalogue: its length; 0: the bundle has none.
    Raises:
        SpecInvalid: rewards by item without a catalogue, or a vector that is too long.
    """
    if kind == "rewards" and not catalogue:
        raise SpecInvalid(
            f"rewards are added up by item, and `{spec.name}` has no catalogue",
            hint="use a policy that learns on features (lin-ucb, lin-thompson, square-cb)",
        )
    width = warm_start.width(spec) + 2 if kind == "regressions" else 0
    form = Form(kind=kind, items=catalogue or 1, width=width)
    if width > ITEM_MAX or form.size > SIZE_MAX:
        raise SpecInvalid(
            f"sums of {form.items} items and {width} columns are {form.size} numbers, at most {SIZE_MAX} are told",
            hint="use a bundle with fewer feature columns, or a policy that counts rewards",
        )
    return form


def rewards(form: Form, rows: Iterable[tuple[int, float, float]]) -> F64:
    """The vector of (row of the catalogue, rewards, missing to one)."""
    found = np.zeros((form.items, 2))
    for row, won, missing in rows:
        found[row] += won, missing
    return found.reshape(-1)


def regressions(form: Form, rows: Iterable[tuple[int, Statistics]]) -> F64:
    """The vector of (row of the catalogue, statistics); of a form for all items alike, they are added up."""
    found = np.zeros((form.items, form.each))
    triangle = np.tril_indices(form.width)
    for row, own in rows:
        found[0 if form.items == 1 else row] += np.concatenate([own.moments[triangle], own.targets, [own.weight]])
    return found.reshape(-1)


def clipped(vector: F64, norm: float) -> F64:
    """The vector, scaled down to an L2 norm of `norm` if it is longer."""
    length = float(np.linalg.norm(vector))
    return vector if length <= norm else np.asarray(vector * (norm / length), np.float64)


def warm_start_of(form: Form, total: F64, rewards_max: float = 0.0, noise: float = 0.0) -> dict[str, F32]:
    """The arrays of bandit.npz that a sum of vectors gives.

    What noise or rounding has made impossible is mended: negative counts are 0, and moments lose what is not positive
    semidefinite. Noised moments say nothing of directions in which there is little but noise, so a ridge of the
    noise's own size is added, towards the model's score: there a device believes the model. Nothing private is looked
    at for that.

    Args:
        total: float64 (form.size,).
        rewards_max: rewards that an item's beginning counts for at most, so that a device can still learn its own;
            0: all.
        noise: deviation of the Gaussian noise in each number of `total`.
    Source: Shariff and Sheffet 2018, "Differentially Private Contextual Linear Bandits", section 4.2 (the shift); the
        largest eigenvalue of a symmetric Gaussian matrix is near 2 · deviation · √d.
    """
    table = np.asarray(total, np.float64).reshape(form.items, form.each)
    if form.kind == "rewards":
        counts = np.maximum(table, 0.0)
        counts *= _worth(counts.sum(axis=1), rewards_max)[:, None]
        return {"won": counts[:, 0].astype(np.float32), "missing": counts[:, 1].astype(np.float32)}
    width = form.width
    rows = [_mended(width, row, rewards_max, 2.0 * noise * width**0.5) for row in table]
    return {
        "moments": np.array([one.moments for one in rows], np.float32).reshape(-1, width, width),
        "targets": np.array([one.targets for one in rows], np.float32).reshape(-1, width),
        "weight": np.array([one.weight for one in rows], np.float32),
    }


def _worth(weight: F64, rewards_max: float) -> F64:
    """How much of each item's sums stays."""
    over = np.maximum(weight, 1e-12)
    return np.minimum(1.0, rewards_max / over) if rewards_max else np.ones_like(over)


def _mended(width: int, row: F64, rewards_max: float, ridge: float) -> Statistics:
    triangle = np.tril_indices(width)
    moments = np.zeros((width, width))
    moments[triangle] = row[: len(triangle[0])]
    moments = moments + np.tril(moments, -1).T
    values, vectors = np.linalg.eigh(moments)
    if values.min(initial=0.0) < 0.0:
        moments = (vectors * np.maximum(values, 0.0)) @ vectors.T
        moments = (moments + moments.T) / 2.0
    targets, weight = row[-width - 1 : -1].copy(), max(0.0, float(row[-1]))
    if ridge:
        moments += ridge * np.eye(width)
        targets[width - 2] += ridge  # where the row holds the model's score
    return faded(Statistics(moments, targets, weight), float(_worth(np.array([weight]), rewards_max)[0]))
