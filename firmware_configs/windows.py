"""Maintenance windows as they are written: `daily 02:00-05:00`, `mon-fri 22:00-06:00`, `sat+sun 10:00-16:00`."""

import re
from collections.abc import Iterable

from msgspec import Struct

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = f"(?:{'|'.join(DAYS)})"
_SPAN = f"{_DAY}(?:-{_DAY})?"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
PATTERN = rf"^(?:daily|{_SPAN}(?:\+{_SPAN})*) {_TIME}-{_TIME}$"
DAY_MINUTES = 1_440
WINDOWS_MAX = 14
_window = re.compile(PATTERN)


class Window(Struct, frozen=True):
    """One of them."""

    days: frozenset[int]
    """Weekdays on which it begins, 0 is Monday."""
    start: int
    """Minutes after midnight, by the local clock."""
    minutes: int
    """How long it lasts, 1 to 1,440."""


def read_window(text: str) -> Window | None:
    """A window; None: the text is none. An end that is not after the start is on the next day."""
    if not _window.match(text) or text.endswith("\n"):
        return None
    days, _, times = text.partition(" ")
    start, end = (int(part[:2]) * 60 + int(part[3:]) for part in times.split("-"))
    return Window(days=_days(days), start=start, minutes=(end - start) % DAY_MINUTES or DAY_MINUTES)


def window_fault(texts: Iterable[str]) -> str:
    """The first of the texts that is no window, or why there are too many; empty: all are windows."""
    held = list(texts)
    if len(held) > WINDOWS_MAX:
        return f"{len(held)} windows; at most {WINDOWS_MAX}"
    return next((f"`{text[:60]}` is no window" for text in held if read_window(text) is None), "")


def _days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for span in text.split("+"):
        first, _, last = span.partition("-")
        begin = DAYS.index(first)
        count = (DAYS.index(last) - begin) % 7 + 1 if last else 1
        found |= {(begin + n) % 7 for n in range(count)}
    return frozenset(found)
