"""Where each tracker's numbers lie in a profile: one row of float64 a subject, places given out once.

A row instead of a dict of lists: a tenth of the memory, packed and unpacked by copying. New trackers get the next
free places, so a row that was stored before them is a prefix of today's. When most places belong to trackers that no
bundle asks for any more, a new generation starts with the needed ones, and older rows move over as they are read.
"""

from collections.abc import Iterable, Mapping

import msgspec

NEWEST = 0
"""Largest event time seen, unix ms."""
SESSIONS = 1
"""Here lie the two newest sessions; see `windows.merge_session`."""
SESSION_SIZE = 3
"""(start ms, end ms, events)."""
HEAD_SIZE = SESSIONS + 2 * SESSION_SIZE
"""Numbers of every profile, before the first tracker's."""
DORMANT_MAX = 512
"""Numbers of trackers that no bundle needs, kept for a return to an earlier bundle."""

_decoder = msgspec.msgpack.Decoder(list[tuple[str, int]])


class Layout:
    """Tracker → its place.

    Attributes:
        generation: number of this layout's line; places are only added within one.
        places: tracker's key → (offset, size) in the row, in the order of the offsets.
        size: numbers in a row.
    """

    __slots__ = ("generation", "places", "size")

    def __init__(self, generation: int, sizes: Iterable[tuple[str, int]]) -> None:
        self.generation = generation
        self.places: dict[str, tuple[int, int]] = {}
        self.size = HEAD_SIZE
        for key, size in sizes:
            self.places[key] = (self.size, size)
            self.size += size

    def holding(self, needed: Mapping[str, int]) -> "Layout":
        """A layout with these trackers (key → size): this one, this one grown, or a new generation."""
        active = sum(needed.values())
        dormant = sum(size for key, (_, size) in self.places.items() if key not in needed)
        if needed and dormant > active + DORMANT_MAX:
            return Layout(self.generation + 1, needed.items())
        missing = [(key, size) for key, size in needed.items() if key not in self.places]
        if not missing:
            return self
        return Layout(self.generation, [*((key, size) for key, (_, size) in self.places.items()), *missing])

    def pack(self) -> bytes:
        """The stored form."""
        return msgspec.msgpack.encode([(key, size) for key, (_, size) in self.places.items()])


def unpack(generation: int, packed: bytes) -> Layout:
    """The layout of a stored form.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return Layout(generation, _decoder.decode(packed))


class Layouts:
    """The present layout and those that stored profiles may still have."""

    def __init__(self) -> None:
        self._of = {0: Layout(0, ())}
        self.now = self._of[0]
        self.is_stored = False
        """Whether the store holds the present layout."""

    def of(self, generation: int) -> Layout | None:
        """A generation's layout; None: it was never stored here."""
        return self._of.get(generation)

    def restore(self, generation: int, packed: bytes) -> None:
        """Take up a stored layout again."""
        self._of[generation] = unpack(generation, packed)
        if generation >= self.now.generation:
            self.now, self.is_stored = self._of[generation], True

    def hold(self, needed: Mapping[str, int]) -> Layout:
        """Make room for these trackers (key → size); returns the present layout."""
        layout = self.now.holding(needed)
        if layout is not self.now:
            self.now = self._of[layout.generation] = layout
            self.is_stored = False
        return layout
