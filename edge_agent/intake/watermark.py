"""Event time: what it is, how far it has come, and what is late.

A source's watermark is the largest event time seen less its allowed lateness, as in Akidau et al. 2015,
"The Dataflow Model".
"""

from collections.abc import Callable
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
    """One source's progress in event time."""

    __slots__ = ("lateness_ms", "newest_ms")

    def __init__(self, lateness_ms: int, newest_ms: int = 0) -> None:
        self.lateness_ms = lateness_ms
        self.newest_ms = newest_ms

    def is_late(self, event_time_ms: int) -> bool:
        """Whether the event lies before the watermark."""
        return event_time_ms < self.newest_ms - self.lateness_ms

    def advance(self, event_time_ms: int) -> bool:
        """Take an event's time in; True when the watermark moved."""
        if event_time_ms <= self.newest_ms:
            return False
        self.newest_ms = event_time_ms
        return True


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
