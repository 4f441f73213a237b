"""What the device remembers of a subject: the trackers of its features, and its sessions.

Everything is one row of float64 (see `layout`) and, for sequences of items, a little text. The stored form leaves out
what is zero: most subjects fill few of a window's buckets, and a small row costs the disk and its cache the least.
"""

from array import array
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge_agent.limits import FUTURE_MS_MAX
from edge_agent.memory.layout import HEAD_SIZE, NEWEST, SESSION_SIZE, SESSIONS, Layout, Layouts
from edge_agent.memory.sessions import at_time, forget_future, merge

if TYPE_CHECKING:
    from edge_agent.intake.minimise import Minimised
    from edge_agent.memory.features import Features

START, END, EVENTS = SESSIONS, SESSIONS + 1, SESSIONS + 2
"""Of the newest session."""
FORM = 2
"""Version of the stored form; 1 was a map."""
DENSE_MAX = 24
"""Rows of at most this many numbers are stored as they are."""
INDEXED_MAX = 65_536
ROW_MAX = 1_000_000
OVERHEAD_BYTES = 400
"""Memory of a profile besides its row: objects, key, and its place in the cache (measured, tests/benchmarks)."""
FOLDED_BYTES = 170
"""Memory of one that is held as it is stored, besides its bytes: two objects' heads, a short key, a place in a dict."""

Packed = tuple[int, int, int, bytes, bytes, dict[str, str]]
"""(form, generation, numbers in the row, their places as uint16 or empty for all, float64 values, texts)."""


class Profile:
    """One subject's state. Mutable, owned by the agent, stored whole."""

    __slots__ = ("layout", "row", "texts")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.row = array("d", bytes(8 * layout.size))
        self.texts: dict[str, str] = {}

    @property
    def newest_ms(self) -> int:
        """Largest event time seen, unix ms; 0: none."""
        return int(self.row[NEWEST])

    def take(self, event: "Minimised", features: "Features", gap_ms: int, now_ms: int) -> None:
        """Bring trackers and sessions up to an event; only a minimised one can come here.

        Args:
            features: of the active bundles; they must be compiled for this profile's layout.
            gap_ms: silence after this event that ends the session.
            now_ms: wall clock, unix ms.
        """
        row, t_ms = self.row, event.event_time_ms
        newest = row[NEWEST]
        if newest > now_ms + FUTURE_MS_MAX:
            self._rewind(features, now_ms)
            newest = now_ms
        features.update(self, event.fields, event.source, t_ms)
        if row[START] <= t_ms <= row[END]:
            # Nearly every event only makes the running session longer.
            row[EVENTS] += 1.0
            row[END] = max(row[END], t_ms + gap_ms)
        else:
            merge(row, SESSIONS, SESSION_SIZE, t_ms, gap_ms)
        if t_ms > newest:
            row[NEWEST] = t_ms

    def _rewind(self, features: "Features", now_ms: int) -> None:
        """Our clock was ahead and came back: what was dated after now is dated now, or no right event would count."""
        features.rewind(self, now_ms)
        forget_future(self.row, SESSIONS, SESSION_SIZE, now_ms)
        self.row[NEWEST] = now_ms

    def session(self, now_ms: int) -> dict[str, float]:
        """What rules may ask of the running session: events in it and seconds since its start; 0 when none runs."""
        row = self.row
        if row[START] <= now_ms <= row[END]:
            return {"events": row[EVENTS], "seconds": (now_ms - row[START]) / 1_000}
        at = at_time(row, SESSIONS, SESSION_SIZE, now_ms)
        if at is None:
            return {"events": 0.0, "seconds": 0.0}
        return {"events": row[at + 2], "seconds": (now_ms - row[at]) / 1_000}

    def fit(self, layouts: Layouts) -> None:
        """Move to the present layout: by growing, or tracker by tracker from another generation."""
        now, own = layouts.now, self.layout
        if own.generation == now.generation:
            self.row.extend(array("d", bytes(8 * (now.size - len(self.row)))))
        else:
            row = array("d", bytes(8 * now.size))
            row[:HEAD_SIZE] = self.row[:HEAD_SIZE]
            for key, (at, size) in own.places.items():
                to = now.places.get(key)
                if to is not None and at + size <= len(self.row):
                    row[to[0] : to[0] + size] = self.row[at : at + size]
            self.row = row
            self.texts = {key: text for key, text in self.texts.items() if key in now.places}
        self.layout = now


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Packed)


def pack(profile: Profile) -> bytes:
    """The stored form."""
    row = profile.row
    count = len(row)
    if count > DENSE_MAX:
        view = np.frombuffer(row)
        filled = view.nonzero()[0]
        if len(filled) * 10 < count * 8 and count <= INDEXED_MAX:
            values, places = view[filled].tobytes(), filled.astype(np.uint16).tobytes()
            return _encoder.encode((FORM, profile.layout.generation, count, places, values, profile.texts))
    return _encoder.encode((FORM, profile.layout.generation, count, b"", row.tobytes(), profile.texts))


def unpack(packed: bytes, layouts: Layouts) -> Profile:
    """The profile of a stored form, in the present layout.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    form, generation, count, places, values, texts = _decoder.decode(packed)
    if form != FORM or not HEAD_SIZE <= count <= ROW_MAX:
        raise msgspec.ValidationError(f"a profile of form {form} with {count} numbers is not known here")
    profile = Profile.__new__(Profile)
    profile.texts = texts
    if len(values) == 8 * count:
        profile.row = array("d", values)
    else:
        profile.row = _spread(count, places, values)
    # Of a generation that was never stored here, only the sessions can be read.
    profile.layout = layouts.of(generation) or Layout(-1, ())
    if count > profile.layout.size and profile.layout.generation >= 0:
        raise msgspec.ValidationError(f"a profile of {count} numbers is larger than its layout")
    if profile.layout is not layouts.now or count < layouts.now.size:
        profile.fit(layouts)
    return profile


def _spread(count: int, places: bytes, values: bytes) -> "array[float]":
    if len(places) % 2 or len(places) * 4 != len(values):
        raise msgspec.ValidationError("a profile's places and values do not pair")
    row = array("d", bytes(8 * count))
    try:
        for place, value in zip(array("H", places), array("d", values), strict=True):
            row[place] = value
    except IndexError:
        raise msgspec.ValidationError("a profile has a value outside its row") from None
    return row
