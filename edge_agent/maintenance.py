"""Maintenance windows: when updates and rounds may begin, by the device's local clock.

A window begins at a local time of a weekday and lasts a number of minutes that pass, whatever the clocks do meanwhile.
So on the day that clocks go forward it is not lost when they jump over it, and on the day that they go back it comes
once, not twice. A leap of the clock opens none: both times that the agent has must lie in a window (docs/time.md).
"""

from collections.abc import Callable, Iterable

from firmware_configs.windows import Window, read_window

DAY_MS = 86_400_000
LocalMs = Callable[[int, int], int]
"""(days since 1970, minutes after midnight) by local clocks → unix ms."""


def is_open(windows: Iterable[Window], now_ms: int, local_ms: LocalMs) -> bool:
    """Whether one of the windows holds this moment.

    Args:
        now_ms: unix ms.
    """
    today = now_ms // DAY_MS  # of UTC: the local day is this one or a neighbour
    for window in windows:
        # Three days hold whatever began yesterday and lasts a day, east and west of Greenwich.
        for day in range(today - 2, today + 2):
            if (day + 3) % 7 in window.days:
                start_ms = local_ms(day, window.start)
                if start_ms <= now_ms < start_ms + window.minutes * 60_000:
                    return True
    return False


class Windows:
    """The windows of the profile, and those that the coordinator wants within them; none: always open."""

    def __init__(self, profile: Iterable[str], local_ms: LocalMs) -> None:
        self._local_ms = local_ms
        self._own, self._wanted = _read(profile), _read(())

    def narrow(self, wanted: Iterable[str]) -> None:
        """Take the coordinator's windows instead of those that it wanted before."""
        self._wanted = _read(wanted)

    def opened(self, now_ms: int, settled_ms: int) -> bool:
        """Whether work may begin.

        Args:
            now_ms: unix ms.
            settled_ms: the time that does not follow a leap of the clock.
        """
        return all(self._open(at_ms) for at_ms in {now_ms, settled_ms})

    def _open(self, at_ms: int) -> bool:
        return all(not windows or is_open(windows, at_ms, self._local_ms) for windows in (self._own, self._wanted))


def _read(texts: Iterable[str]) -> tuple[Window, ...]:
    return tuple(window for text in texts if (window := read_window(text)) is not None)
