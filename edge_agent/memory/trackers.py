"""What keeps one feature up: the numbers that it needs in a profile, how an event changes them, how they are read."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from edge_agent.memory.profile import Profile

Fields = Mapping[str, float | str | bool]
Local = tuple[int, int]
"""(hour 0-23, weekday 0-6 with Monday 0), in the device's local time."""
Row: TypeAlias = "array[float]"
"""A profile's numbers, float64."""
Update = Callable[[Row, Fields, str, int, Profile], None]
"""(profile's row, minimised fields, source, event time in unix ms, profile): takes one event in."""
Column = Callable[[Profile, int, Local], Sequence[float]]
"""(profile, event time at which to read in unix ms, local hour and weekday) → the feature's columns."""
Rewind = Callable[[Profile, int], None]
"""(profile, now in unix ms): what is dated after now is dated now, or forgotten."""


class Tracker(Struct, frozen=True, kw_only=True):
    """A feature's state, at its place.

    Attributes:
        key: features with the same key share their numbers.
        size: float64 numbers in the profile's row.
        compiled: offset in the row → its three functions.
        words: for texts that are kept by number: text → number.
    """

    key: str
    size: int
    compiled: Callable[[int], tuple[Update, Column, Rewind]]
    words: Mapping[str, float] = {}


def clamped(at: int) -> Rewind:
    """The rewind of a tracker whose only time lies at `at`."""

    def rewind(profile: Profile, now_ms: int) -> None:
        profile.row[at] = min(profile.row[at], now_ms)

    return rewind
