"""The only place that reads clocks: wall time, monotonic time, local hours, and a decision's time budget."""

import time
from collections.abc import Callable
from datetime import date, datetime, tzinfo
from functools import lru_cache

from edge_agent.errors import SettingsMalformed

MINUTE_MS = 60_000


def wall_ms() -> int:
    """Unix time, ms."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Seconds that never jump."""
    return time.monotonic()


def monotonic_ns() -> int:
    """Nanoseconds that never jump."""
    return time.perf_counter_ns()


def wall_ns() -> int:
    """Unix time, ns."""
    return time.time_ns()


def local_hours(timezone: str) -> Callable[[int], tuple[int, int]]:
    """A function from unix ms to (hour 0-23, weekday 0-6 from Monday).

    Args:
        timezone: IANA name; empty: the system's zone.
    Raises:
        SettingsMalformed: there is no such zone on this machine.
    """
    zone = _zone(timezone) if timezone else None
    known: tuple[int, tuple[int, int]] = (-1, (0, 0))

    def local(now_ms: int) -> tuple[int, int]:
        nonlocal known
        minute = now_ms // MINUTE_MS
        if known[0] != minute:
            # The system's zone is asked for on purpose: hours are the household's.
            here = datetime.fromtimestamp(minute * 60, zone)
            known = (minute, (here.hour, here.weekday()))
        return known[1]

    return local


def zoned_times(timezone: str) -> Callable[[int, str], tuple[int, int, int]]:
    """A function from (unix ms, zone) to (hour 0-23, weekday 0-6 from Monday, days since 1970).

    Args:
        timezone: of the device, IANA name; empty: the system's. It stands in for a zone that is empty or not known.
    """
    epoch = date(1970, 1, 1).toordinal()

    @lru_cache(maxsize=64)
    def zone_of(name: str) -> tzinfo | None:
        try:
            return _zone(name) if name else None
        except SettingsMalformed:
            return zone_of(timezone) if name != timezone else None

    def zoned(now_ms: int, name: str) -> tuple[int, int, int]:
        here = datetime.fromtimestamp(now_ms / 1_000, zone_of(name or timezone))
        return here.hour, here.weekday(), here.toordinal() - epoch

    return zoned


def local_times(timezone: str) -> Callable[[int, int], int]:
    """A function from (days since 1970, minutes after midnight) by local clocks to unix ms.

    A time that clocks jump over is as much later; of one that comes twice it is the first (PEP 495).

    Args:
        timezone: IANA name; empty: the system's zone.
    """
    epoch = date(1970, 1, 1).toordinal()

    @lru_cache(maxsize=256)
    def instant(day: int, minute: int) -> int:
        here = date.fromordinal(epoch + day)
        zone = _zone(timezone) if timezone else None
        then = datetime(here.year, here.month, here.day, minute // 60, minute % 60, tzinfo=zone)
        return int(then.timestamp() * 1_000)

    return instant


def _zone(name: str) -> tzinfo:
    # It brings 300 KB of build variables along, for the folders that hold the zones.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsMalformed(
            f"timezone: `{name}` is not known here: {error}",
            hint="write an IANA name such as Europe/Paris; on small systems install tzdata",
        ) from error


class Watch:
    """Whether a decision's time is up. Decisions are made one after another: one start time is enough."""

    def __init__(self, now_s: Callable[[], float] = time.perf_counter) -> None:
        self._now_s = now_s
        self._decision = ""
        self._since_s = 0.0

    def over_budget(self, decision: str, budget_ms: float) -> bool:
        """The first question about a decision starts the watch."""
        if decision != self._decision:
            self._decision, self._since_s = decision, self._now_s()
            return False
        return (self._now_s() - self._since_s) * 1_000 > budget_ms
