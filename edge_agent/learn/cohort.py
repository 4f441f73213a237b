"""Who is being measured for an experiment, and the sums of those who have been: all that is kept of it on a device.

A person is measured from the first decision in the experiment until the window ends, then counts once, in the arm that
was assigned, and only the sums stay. Nobody's number is kept once it is counted; that somebody was counted is, so that
nobody counts twice.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from firmware_configs.profile import ExperimentMetric

BEFORE, MEASURED, COUNTED = 0, 1, 2
CHUNK = 128
"""People in one row of the queue of those who are being measured."""
MEASURED_MAX = 8_192
"""People being measured at once; further ones are not counted, whatever their arm."""
BEFORE_MAX = 20_000
"""People of whom something is kept from before the experiment."""


class Person(Struct, array_like=True):
    """One person in one experiment."""

    state: int = BEFORE
    arm: int = -1
    allocation: int = 0
    due_ms: int = 0
    """When the window ends, unix ms."""
    decisions: int = 0
    sums: list[float] = []
    """Of each metric's values in the window."""
    counts: list[int] = []
    before: list[float] = []
    """Each metric before the experiment, centred (w); empty: nothing was measured then."""

    def take(self, metric: int, value: float, metrics: int) -> None:
        """One more value of a metric."""
        if not self.sums:
            self.sums, self.counts = [0.0] * metrics, [0] * metrics
        self.sums[metric] += value
        self.counts[metric] += 1

    def number(self, n: int, metric: ExperimentMetric) -> float:
        """The person's number of a metric, in its own unit; without any value: 0."""
        total = self.sums[n] if self.sums else 0.0
        match metric.per:
            case "decision":
                return total / max(1, self.decisions)
            case "outcome":
                return total / self.counts[n] if self.counts and self.counts[n] else 0.0
            case _:
                return total

    def begin(self, arm: int, allocation: int, due_ms: int, before: Sequence[float]) -> None:
        """From now on the person is measured."""
        self.state, self.arm, self.allocation, self.due_ms = MEASURED, arm, allocation, due_ms
        self.before, self.decisions, self.sums, self.counts = list(before), 0, [], []

    def finish(self, now_ms: int) -> None:
        """The person has been counted; nothing but that, and when, is kept."""
        self.state, self.due_ms, self.decisions = COUNTED, now_ms, 0
        self.sums, self.counts, self.before = [], [], []


class Summary(Struct, kw_only=True):
    """One experiment on this device."""

    arms: tuple[str, ...]
    metrics: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...] = ()
    """(lower, upper) of each metric."""
    tables: dict[int, list[list[float]]] = {}
    """Allocation → an arm's row as in `models.experiments.sums`."""
    first: int = 0
    """Number of the oldest chunk of the queue."""
    offset: int = 0
    """People of that chunk who have been dealt with."""
    last: int = 0
    """Number of the newest chunk."""
    drawn: int = 0
    """People who were ever measured."""
    measured: int = 0
    """People being measured now."""
    before: int = 0
    """People of whom something is kept from before."""
    skipped: dict[str, int] = {}
    """People who were not counted, by the reason."""
    reported_ms: int = 0
    unreported: bool = False

    def skip(self, reason: str, people: int = 1) -> None:
        """So many are not counted."""
        self.skipped[reason] = self.skipped.get(reason, 0) + people

    def add(self, allocation: int, arm: int, row: Sequence[float]) -> None:
        """Count a person."""
        table = self.tables.setdefault(allocation, [[0.0] * len(row) for _ in self.arms])
        table[arm] = [old + more for old, more in zip(table[arm], row, strict=True)]
        self.unreported = True


_person_decoder = msgspec.msgpack.Decoder(Person)
_summary_decoder = msgspec.msgpack.Decoder(Summary)
_chunk_decoder = msgspec.msgpack.Decoder(list[str])


def read_person(packed: bytes) -> Person:
    """A stored person."""
    return _person_decoder.decode(packed)


def read_summary(packed: bytes) -> Summary:
    """A stored summary.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _summary_decoder.decode(packed)


def read_chunk(packed: bytes) -> list[str]:
    """A stored stretch of the queue: people in the order in which their windows end."""
    return _chunk_decoder.decode(packed)
