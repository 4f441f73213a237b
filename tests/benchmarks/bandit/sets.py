"""Classic classification sets that can be had without a network, as contexts and the one action that is right.

Which ones was settled before anything was run: they differ in the number of actions (10, 7, 2), of features (64, 18, 4)
and of rows, one comes from sensors in a room, and all ship with a package or with this repository. `breast-cancer` is
small (569 rows) and is reported beside them without counting.

Features are standardised over the whole set, without its labels, for both sides the same. Ours would do so by itself
as rows come; Vowpal Wabbit earns much more on centred features (segment: 0.80 instead of 0.62), so both get them.
"""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import datasets

F64 = NDArray[np.float64]
Index = NDArray[np.int64]


class ClassSet(Struct, frozen=True, kw_only=True):
    """A supervised set, about to become a bandit's."""

    name: str
    x: F64
    """(n, columns), each column with mean 0 and deviation 1, or 0 throughout."""
    y: Index
    """(n,), the action that earns 1; every other one earns 0."""
    source: str

    @property
    def actions(self) -> int:
        return int(self.y.max()) + 1


def digits() -> ClassSet:
    from sklearn.datasets import load_digits

    found = load_digits()
    return _standardised(
        "digits", found.data, found.target, "UCI Optical Recognition of Handwritten Digits, in scikit-learn"
    )


def segment() -> ClassSet:
    from river.datasets import ImageSegments

    rows = list(ImageSegments())
    columns, classes = sorted(rows[0][0]), sorted({label for _, label in rows})
    x = np.array([[row[column] for column in columns] for row, _ in rows], np.float64)
    y = np.array([classes.index(label) for _, label in rows])
    return _standardised("segment", x, y, "UCI Image Segmentation, in river")


def occupancy() -> ClassSet:
    rows = datasets.read_occupancy("training")
    x = np.array([[row.temperature, row.humidity, row.light, row.co2] for row in rows])
    y = np.array([row.occupied for row in rows])
    return _standardised("occupancy", x, y, "UCI Occupancy Detection (training split), in data/")


def breast_cancer() -> ClassSet:
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    return _standardised(
        "breast-cancer", found.data, found.target, "UCI Breast Cancer Wisconsin (Diagnostic), in scikit-learn"
    )


COUNTED: tuple[Callable[[], ClassSet], ...] = (digits, segment, occupancy)
BESIDE: tuple[Callable[[], ClassSet], ...] = (breast_cancer,)


def _standardised(name: str, x: NDArray[np.floating], y: NDArray[np.integer], source: str) -> ClassSet:
    deviation = x.std(axis=0)
    found = (x - x.mean(axis=0)) / np.where(deviation > 0.0, deviation, 1.0)
    return ClassSet(name=name, x=np.asarray(found, np.float64), y=np.asarray(y, np.int64), source=source)
