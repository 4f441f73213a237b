"""A metric's sums by placement, arm and segment: what can be added up over a fleet, and nothing of any person."""

import hashlib
from collections.abc import Mapping
from math import sqrt

import msgspec
from msgspec import Struct

from firmware_configs.measured import MetricCell
from firmware_configs.profile import Metric, Outcome

BUCKETS = 16
"""Of the histogram between lower and upper; what is equal to upper lies in the last."""
CELLS_MAX = 256
"""Cells of one metric; what comes beyond is added to the cell that has no arm and no segment."""
REST = "other"

Group = tuple[str, str, str]
"""(placement, arm as `experiment/arm`, segment)."""


class Cell(Struct, array_like=True):
    """One group's sums."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    buckets: dict[int, int] = {}
    censored: dict[int, int] = {}
    """Bucket of the time at which watching ended without the outcome; for times only. Those that ended early are in
    neither `n` nor the sums."""


class Sums(Struct, array_like=True):
    """A metric's state."""

    definition: str
    """Digest of what the sums mean; under another definition they start again."""
    since_ms: int
    kind: str
    """Of the measure: `dwell`, `rate`, `time-to`, …"""
    lower: float
    upper: float
    cells: dict[str, Cell] = {}
    """Group, its parts divided by U+001F → sums."""

    def cell(self, group: Group) -> Cell:
        """The group's sums, made when there are none."""
        key = "\x1f".join(group)
        held = self.cells.get(key)
        if held is None and len(self.cells) >= CELLS_MAX - 1:
            key = "\x1f".join(("", "", REST))
            held = self.cells.get(key)
        if held is None:
            held = self.cells[key] = Cell()
        return held

    def add(self, group: Group, value: float, *, happened: bool = True) -> float:
        """Add an observation, clipped; returns what was added.

        Args:
            happened: False for a time that ran to the end of the window without the outcome.
        """
        clipped = min(max(value, self.lower), self.upper)
        cell = self.cell(group)
        cell.n += 1
        cell.total += clipped
        cell.squares += clipped * clipped
        self._count(cell, clipped, happened=happened)
        return clipped

    def cut(self, group: Group, value: float, *, happened: bool) -> None:
        """Count a time of a decision that was watched no longer, before its window was over; it is no observation."""
        self._count(self.cell(group), min(max(value, self.lower), self.upper), happened=happened)

    def _count(self, cell: Cell, value: float, *, happened: bool) -> None:
        counts = cell.buckets if happened else cell.censored
        at = min(int((value - self.lower) / (self.upper - self.lower) * BUCKETS), BUCKETS - 1)
        counts[at] = counts.get(at, 0) + 1

    def told(self) -> list[MetricCell]:
        """As they may leave."""
        return [
            MetricCell(
                placement=placement,
                arm=arm,
                segment=segment,
                n=cell.n,
                total=cell.total,
                squares=cell.squares,
                buckets=cell.buckets,
                censored=cell.censored,
            )
            for key, cell in sorted(self.cells.items())
            for placement, arm, segment in [key.split("\x1f")]
        ]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Sums)


def pack(sums: Sums) -> bytes:
    """The stored form."""
    return _encoder.encode(sums)


def unpack(packed: bytes) -> Sums:
    """The sums of a stored form.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decoder.decode(packed)


def definition_of(declared: Metric | Outcome) -> str:
    """What sums mean: under another definition they start again."""
    return hashlib.sha256(msgspec.msgpack.encode(declared, order="deterministic")).hexdigest()[:16]


def mean_and_error(cell: MetricCell) -> tuple[float, float]:
    """Mean and its standard error; an error of 0 with fewer than two observations says nothing."""
    if not cell.n:
        return 0.0, 0.0
    mean = cell.total / cell.n
    if cell.n < 2:
        return mean, 0.0
    variance = max(0.0, (cell.squares - cell.n * mean * mean) / (cell.n - 1))
    return mean, sqrt(variance / cell.n)


def restricted_mean(events: Mapping[int, int], censored: Mapping[int, int], upper: float) -> float:
    """Mean time to an event, restricted to `upper`, with early ends of watching taken into account.

    The area under the Kaplan-Meier curve on the buckets (Kaplan and Meier 1958; the actuarial form on intervals: who is
    censored within a bucket was at risk for half of it). Off by at most half a bucket.

    Args:
        events: bucket → how many had the event in it.
        censored: bucket → how many were watched until then without it.
        upper: end of the last bucket, s; buckets begin at 0.
    """
    at_risk = float(sum(events.values()) + sum(censored.values()))
    width, survival, area = upper / BUCKETS, 1.0, 0.0
    for at in range(BUCKETS):
        before = survival
        # Who was watched to the very end counts in the last bucket, and was at risk for all of it.
        left = censored.get(at, 0) if at < BUCKETS - 1 else 0
        exposed = at_risk - left / 2.0
        if exposed > 0.0:
            survival *= 1.0 - min(1.0, events.get(at, 0) / exposed)
        area += width * (before + survival) / 2.0
        at_risk -= events.get(at, 0) + left
    return area
