"""`edge-models bench context`: what each kind of context is worth, on the real data that has it.

One group of columns is left out at a time; what the held-out log loss gains by having it is the group's worth. Three
data sets, because none has everything: the office has sensors but no clock, the interactions have a clock and other
people, the shop's log has a clock, hashed visitors and the place on the page. None has a location or a device type.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import baselines, datasets
from models.zoo import context, segment, spells

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Interval = Callable[[F64], tuple[float, float]]
Groups = dict[str, tuple[F32, F32]]
"""Group of columns → training rows and test rows of them."""
NOT_MEASURED = {
    "location cell": "no data set here has places; declare a `coarse-location` as `one-hot`",
    "device type": "no data set here names it; declare it as `device-class`",
    "time of day in the office": "the file has no clock",
}
SEED = 0


class Worth(Struct, frozen=True, kw_only=True):
    """Of one group of columns: held-out log loss without it minus with everything, nats a row; above 0 it helps."""

    data: str
    group: str
    columns: int
    value: float
    low: float
    """95 % interval: over people, or over blocks of neighbouring rows."""
    high: float
    share: float
    """Of the log loss of a constant, what the group's worth is."""


class Report(Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    table: tuple[Worth, ...]
    log_loss: dict[str, float]
    """Data → with every group."""
    log_loss_constant: dict[str, float]
    not_measured: dict[str, str]


def run(ratings: Path | None, data: Collection[str] = ("occupancy", "open-bandit")) -> Report:
    """Every ablation for which the data is there.

    Args:
        ratings: interactions, for rhythm and other people; None: left out, and said so.
        data: which of the others.
    """
    table: list[Worth] = []
    full: dict[str, float] = {}
    constant: dict[str, float] = {}
    missing = dict(NOT_MEASURED)
    for name, case in (("occupancy", _occupancy), ("open-bandit", _open_bandit)):
        if name in data:
            _add(name, *case(), table, full, constant)
    if ratings is None:
        missing["time of day, time since, other people"] = "give --ratings FILE"
    else:
        _add("interactions", *_interactions(ratings), table, full, constant)
    return Report(table=tuple(table), log_loss=full, log_loss_constant=constant, not_measured=missing)


def _add(
    data: str,
    groups: Groups,
    label: F32,
    test_label: F32,
    interval: Interval,
    table: list[Worth],
    full: dict[str, float],
    constant: dict[str, float],
) -> None:
    everything = _losses(groups, label, test_label)
    full[data] = float(everything.mean())
    constant[data] = float(spells.losses(np.full(len(test_label), label.mean()), test_label).mean())
    for group, (columns, _) in groups.items():
        rest = {name: parts for name, parts in groups.items() if name != group}
        worth = _losses(rest, label, test_label) - everything
        low, high = interval(worth)
        table.append(
            Worth(
                data=data,
                group=group,
                columns=columns.shape[1],
                value=float(worth.mean()),
                low=low,
                high=high,
                share=float(worth.mean()) / constant[data],
            )
        )


def _losses(groups: Mapping[str, tuple[F32, F32]], label: F32, test_label: F32) -> F64:
    train, test = (np.hstack(side) for side in zip(*groups.values(), strict=True))
    return spells.losses(baselines.logistic_regression(train, label, test, rounds=8), test_label)


def _occupancy() -> tuple[Groups, F32, F32, Interval]:
    """Each sensor with its square, and how it changed over ten minutes (a context window)."""
    x, y = segment.arrays("training")
    test_x, test_y = segment.arrays("test")
    groups: Groups = {}
    for column, field in enumerate(context.FIELDS):
        groups[field] = _curve(x[:, column]), _curve(test_x[:, column])
    groups["change over 10 minutes"] = _change(x), _change(test_x)
    return groups, y, test_y, lambda value: segment.interval_by_block(value, SEED)


def _curve(column: F32) -> F32:
    centred = (column - column.mean()) / (column.std() + 1e-6)
    return np.column_stack([column, centred**2]).astype(np.float32)


def _change(x: F32, minutes: int = 10) -> F32:
    before = np.vstack([np.repeat(x[:1], minutes, axis=0), x[:-minutes]])
    return x - before


def _interactions(path: Path) -> tuple[Groups, F32, F32, Interval]:
    """The hazard of the zoo's `moment`, its columns cut into spans, and how many others were there lately."""
    rows = datasets.read_ratings(path)
    every = spells.of_ratings(rows)
    others = _others(np.sort(np.array([row.time for row in rows])), every)
    stranger = every.person % 10 < 3
    weekday = np.round(np.arctan2(every.features[:, 2], every.features[:, 3]) / (2 * np.pi) * 7).astype(np.int64) % 7
    columns = {
        "time of day": np.eye(24)[every.hour],
        "day of week": np.eye(7)[weekday],
        "time since the last act": np.eye(16)[every.since_bin()],
        "acts in 1, 7 and 28 days": np.log1p(every.features[:, 5:]),
        "others present": np.log1p(others)[:, None],
    }
    groups: Groups = {
        name: (some[~stranger].astype(np.float32), some[stranger].astype(np.float32)) for name, some in columns.items()
    }
    person = every.person[stranger]
    return (
        groups,
        every.label[~stranger],
        every.label[stranger],
        lambda value: spells.interval_by_person(value, person, SEED),
    )


def _others(times: F64, every: spells.Spells) -> F64:
    """Acts of other people in the hour before each row.

    One's own are there only when the row follows an act at once; then the day's others of one's own are taken off,
    which is too many where somebody sat down twice that day.
    """
    now = every.at
    acts = np.searchsorted(times, now, "left") - np.searchsorted(times, now - 3_600.0, "left")
    own = np.where(every.features[:, 4] < 3_600.0, every.features[:, 5] - 1.0, 0.0)
    return np.asarray(np.maximum(acts - own, 0.0), np.float64)


def _open_bandit() -> tuple[Groups, F32, F32, Interval]:
    """Clicks of the Thompson log, measured on the uniform log of the same week."""
    log, test = datasets.read_open_bandit("bts"), datasets.read_open_bandit("random")
    pairs: dict[str, Callable[[datasets.Impression], str]] = {
        "time of day": lambda row: str(int(row.time // 3_600) % 24 // 4),
        "day of week": lambda row: str(int(row.time // 86_400) % 7),
        "place on the page": lambda row: str(row.position),
        "item": lambda row: row.item,
        **{f"visitor, hashed feature {n}": (lambda row, n=n: row.user[n]) for n in range(4)},  # type: ignore[misc]
    }
    groups: Groups = {}
    for name, value in pairs.items():
        known = sorted({value(row) for row in log})
        groups[name] = (_one_hot([value(row) for row in log], known), _one_hot([value(row) for row in test], known))
    label, test_label = (np.array([row.click for row in rows], np.float32) for rows in (log, test))
    return groups, label, test_label, lambda value: segment.interval_by_block(value, SEED)


def _one_hot(values: list[str], known: list[str]) -> F32:
    index = {value: row for row, value in enumerate(known)}
    table = np.zeros((len(values), len(known)), np.float32)
    for row, value in enumerate(values):
        if value in index:
            table[row, index[value]] = 1.0
    return table
