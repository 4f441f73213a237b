"""bandit.npz: what a bundle brings so that policies that learn on devices need not begin at nothing.

Arrays, all float32, each left out where there is nothing to say; n is the length of the catalogue, k the number of
feature columns (all but sequences), d = k + 2 for (features standardised, the model's score, 1):

- `won` (n,) and `missing` (n,): rewards, and what was missing to one, that count before any is seen.
- `mean` (k,) and `deviation` (k,): the scale of the features. With it, regressions of different devices can be added.
- `items` (n, f): features of each item, for policies that learn one regression for all items (`shared`).
- `moments` (m, d, d), `targets` (m, d), `weight` (m,): statistics of each item's regression (`models.ridge`), m = n;
  or m = 1 for all items alike.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models import arrays
from models.errors import SpecInvalid
from models.ridge import Statistics
from models.spec import ItemSequence, Spec, feature_names

FILE = "bandit.npz"
F64 = NDArray[np.float64]
_PARTS = (("won", "missing"), ("mean", "deviation"), ("moments", "targets", "weight"), ("items",))


class WarmStart:
    """A bundle's beginning for bandits.

    Attributes:
        counts: item → (rewards, missing to one).
        scale: mean and deviation of each feature column, float64 (k,); None: a device finds its own.
        items: features of each item of the catalogue, float64 (n, f); None: there are none.
    """

    def __init__(self, held: Mapping[str, F64], catalogue: tuple[str, ...]) -> None:
        """Of arrays whose shapes are right; see `unpack`."""
        self._held, self._at = dict(held), {item: row for row, item in enumerate(catalogue)}
        pairs = zip(held["won"].tolist(), held["missing"].tolist(), strict=True) if "won" in held else ()
        self.counts: dict[str, tuple[float, float]] = dict(zip(catalogue, pairs, strict=False))
        self.items: F64 | None = held.get("items")
        self.scale: tuple[F64, F64] | None = (held["mean"], held["deviation"]) if "mean" in held else None

    def described(self, names: Sequence[str]) -> F64:
        """The features of items, float64 (len(names), f); zeros for one that the catalogue lacks."""
        if self.items is None:
            return np.zeros((len(names), 0))
        found = np.zeros((len(names), self.items.shape[1]))
        for n, name in enumerate(names):
            if name in self._at:
                found[n] = self.items[self._at[name]]
        return found

    def statistics(self, item: str) -> Statistics | None:
        """Of an item's regression; None: none are given for it."""
        if "moments" not in self._held:
            return None
        moments, targets, weight = (self._held[name] for name in _PARTS[2])
        row = 0 if len(weight) == 1 else self._at.get(item)
        return None if row is None else Statistics(moments[row], targets[row], float(weight[row]))


def columns(spec: Spec) -> list[str]:
    """Names of the feature columns on which regressions learn, in their order."""
    names: dict[str, list[str]] = {}
    for given in spec.inputs:
        if given.from_ == "features" and given.name not in names:
            all_, widths = iter(feature_names(given)), [(f, f.width) for f in given.features]
            kept = [[next(all_) for _ in range(width)] for _, width in widths]
            pairs = zip(widths, kept, strict=True)
            names[given.name] = [name for (f, _), own in pairs if not isinstance(f, ItemSequence) for name in own]
    return [name for own in names.values() for name in own]


def width(spec: Spec) -> int:
    """k: feature columns on which regressions learn."""
    return len(columns(spec))


def unpack(raw: bytes, spec: Spec, catalogue: tuple[str, ...]) -> WarmStart:
    """Read bandit.npz.

    Raises:
        BundleMalformed: it is no such file.
        SpecInvalid: unknown or missing arrays, shapes that are not the bundle's, or values that no rewards give.
    """
    found = arrays.unpack(raw, FILE)
    held = {name: np.asarray(array, np.float64) for name, array in found.items()}
    strangers = sorted(set(held) - {name for part in _PARTS for name in part})
    if strangers:
        raise _wrong(f"arrays {strangers} are not known")
    for part in _PARTS:
        if (there := sorted(set(part) & set(held))) and len(there) < len(part):
            raise _wrong(f"{there} need {sorted(set(part) - set(there))} beside them")
    k = width(spec)
    m = len(held["weight"]) if held.get("weight", np.zeros(())).ndim else 0
    shapes = {
        "won": (len(catalogue),),
        "missing": (len(catalogue),),
        "mean": (k,),
        "deviation": (k,),
        "items": (len(catalogue), held["items"].shape[-1] if held.get("items", np.zeros(())).ndim else 0),
        "moments": (m, k + 2, k + 2),
        "targets": (m, k + 2),
        "weight": (m,),
    }
    for name, array in held.items():
        if array.shape != shapes[name] or not np.isfinite(array).all():
            raise _wrong(f"{name} has shape {array.shape}, finite numbers of shape {shapes[name]} were expected")
        if name in {"won", "missing", "deviation", "weight"} and (array < 0.0).any():
            raise _wrong(f"{name} holds negative numbers")
    if "weight" in held:
        if m not in {1, len(catalogue)}:
            raise _wrong(f"regressions of {m} items, expected 1 or as many as the catalogue has")
        _check_moments(held["moments"])
    return WarmStart(held, catalogue)


def _check_moments(moments: F64) -> None:
    """Sums of outer products are symmetric and, but for rounding to float32, positive semidefinite."""
    slack = 1e-5 * np.abs(moments).max(initial=1.0)
    if np.abs(moments - moments.swapaxes(1, 2)).max(initial=0.0) > 0.0:
        raise _wrong("moments are not symmetric")
    if np.linalg.eigvalsh(moments).min(initial=0.0) < -slack * moments.shape[-1]:
        raise _wrong("moments are no sums of outer products")


def _wrong(what: str) -> SpecInvalid:
    return SpecInvalid(f"{FILE}: {what}", hint="see models/warm_start.py for what it holds, and pack it again")
