"""What decisions bring: the newest release of each profile, with what privacy costs beside every figure."""

from itertools import groupby
from typing import Any

from msgspec import Struct

from coordinator.business import Figure, read
from coordinator.dashboard.curves import Interval, intervals
from coordinator.shell import business as known
from coordinator.shell.dashboard.asking import Ask

WIDTH = 0.05
"""Of an interval, as a share of the metric's range, for which the needed observations are told."""


class Row(Struct, frozen=True, kw_only=True):
    """One group of a table."""

    name: str
    figure: Figure
    cost: float | None
    """How many times as wide the noise makes the interval; None: nothing is told, or the noise hides the width."""


class Table(Struct, frozen=True, kw_only=True):
    """A metric at a placement, by arm and by segment."""

    metric: str
    what: str
    placement: str
    rows: tuple[Row, ...]
    picture: str
    """The intervals as an `svg` element; empty: nothing is told."""


def business(ask: Ask) -> dict[str, Any]:
    """The newest release of every profile; nobody is asked, and nothing is spent.

    Raises:
        HomeUnreadable: a file of releases is damaged.
    """
    newest = sorted(known.known(ask.home), key=lambda one: one.time_ms, reverse=True)
    return {"releases": [{"release": one, "tables": tables(read(one, WIDTH))} for one in newest], "width": WIDTH}


def tables(figures: list[Figure]) -> list[Table]:
    """Figures that belong together, in the order in which they are told."""
    return [
        _table(metric, what, placement, [_row(one) for one in own])
        for (metric, what, placement), own in groupby(figures, lambda one: (one.metric, one.what, one.placement))
    ]


def _table(metric: str, what: str, placement: str, rows: list[Row]) -> Table:
    drawn = [
        Interval(name=row.name, low=row.figure.low, value=row.figure.value, high=row.figure.high)
        for row in rows
        if row.figure.value is not None
    ]
    title = f"{what}: {metric} at {placement}"
    picture = intervals(title, metric, drawn) if drawn else ""
    return Table(metric=metric, what=what, placement=placement, rows=tuple(rows), picture=picture)


def _row(figure: Figure) -> Row:
    parts = (figure.arm and f"arm {figure.arm}", figure.segment and f"segment {figure.segment}")
    cost = figure.width / figure.width_without if figure.value is not None and figure.width_without > 0.0 else None
    return Row(name=" · ".join(part for part in parts if part) or "everybody", figure=figure, cost=cost)
