"""Event time: what it is, how far it has come, and what is late.

A source's watermark is the largest event time seen less its allowed lateness, as in Akidau et al. 2015,
"The Dataflow Model".
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from edge_agent.errors import FieldInvalid
from edge_agent.limits import FUTURE_MS_MAX

EARLIEST_MS = 946_684_800_000
"""2000-01-01: a clock that says less was never set."""


def event_time_reader(unit: Literal["s", "ms", "iso8601"]) -> Callable[[Any], int]:
    """A function from the source's own notation to unix ms.

    The function raises FieldInvalid for what is no time.
    """
    return {"s": _from_seconds, "ms": _from_ms, "iso8601": _from_iso}[unit]


def plausible(event_time_ms: int, now_ms: int) -> bool:
    """Whether a device's clock can be believed: not before 2000, not far ahead of ours."""
    return EARLIEST_MS <= event_time_ms <= now_ms + FUTURE_MS_MAX


class Watermark:
    """One source's progress in event time.

    It is never ahead of our own clock: a device whose clock runs ahead, by less than makes it implausible, cannot make
    the right events of others late; and when our own clock was ahead and comes back, the mark comes back with it.
    """

    __slots__ = ("heard_ms", "idle_ms", "lateness_ms", "newest_ms")

    def __init__(self, lateness_ms: int, idle_ms: int, newest_ms: int = 0) -> None:
        """Set up.

        Args:
            lateness_ms: how far an event may run behind the newest one.
            idle_ms: silence after which the source counts as idle.
            newest_ms: largest event time seen, unix ms.
        """
        self.lateness_ms = lateness_ms
        self.idle_ms = idle_ms
        self.newest_ms = newest_ms
        self.heard_ms = 0
        """Our clock at the newest arrival, unix ms; 0: nothing came since the start."""

    def is_late(self, event_time_ms: int, now_ms: int) -> bool:
        """Whether the event lies before the watermark."""
        return event_time_ms < min(self.newest_ms, now_ms) - self.lateness_ms

    def advance(self, event_time_ms: int, now_ms: int) -> bool:
        """Take an arrival in; True when the newest event time changed."""
        self.heard_ms = now_ms
        newest = min(max(event_time_ms, self.newest_ms), now_ms)
        if newest == self.newest_ms:
            return False
        self.newest_ms = newest
        return True

    @property
    def at_ms(self) -> int:
        """The watermark, unix ms; 0: nothing came yet."""
        return max(0, self.newest_ms - self.lateness_ms)

    def is_idle(self, now_ms: int) -> bool:
        """Whether the source has been silent for so long that nobody waits for it."""
        return not 0 <= now_ms - self.heard_ms < self.idle_ms


class Combined:
    """The device's watermark: what spans sources is complete up to here.

    The least of the sources' watermarks, idle ones left out (Akidau et al. 2015, section 2.3; Flink's idle sources).
    It never goes back, but for our own clock. While all are idle it stands.
    """

    __slots__ = ("_marks", "_newest_ms")

    def __init__(self, marks: Iterable[Watermark]) -> None:
        self._marks = tuple(marks)
        self._newest_ms = 0

    def at(self, now_ms: int) -> int:
        """The combined watermark, unix ms; 0: nothing was heard yet."""
        awake = [mark.newest_ms - mark.lateness_ms for mark in self._marks if not mark.is_idle(now_ms)]
        if awake:
            self._newest_ms = max(self._newest_ms, min(awake))
        self._newest_ms = min(self._newest_ms, now_ms)
        return self._newest_ms


def _from_seconds(value: Any) -> int:
    return _from_ms(value * 1_000 if type(value) in {int, float} else value)


def _from_ms(value: Any) -> int:
    if type(value) not in {int, float} or not -1e15 < value < 1e15:
        raise FieldInvalid("event time is not a number", hint="send unix time in the unit of the profile")
    return int(value)


def _from_iso(value: Any) -> int:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise FieldInvalid("event time is not ISO 8601", hint="send text like 2026-01-31T12:00:00Z") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1_000)
