"""A decision on its way to a person: it waits, it was told, it stands, it is taken back."""

import msgspec
from msgspec import Struct

from firmware_configs.messages import DecisionMade

NOTES_MAX = 24
"""Lines kept of what became of one decision."""
RANKS = {"low": 0, "normal": 1, "high": 2, "critical": 3}


class Told(Struct, frozen=True, array_like=True):
    """A channel that has carried it."""

    channel: str
    at_ms: int
    topic: str = ""


Note = tuple[int, str]
"""(unix ms, what happened, in words)."""
CARRIES = "carries it"
"""Ends the note of a channel that carries a message."""


def was_told(notes: list[Note]) -> bool:
    """Whether any channel has carried it."""
    return any(text.endswith(CARRIES) for _, text in notes)


class Delivery(Struct, kw_only=True, array_like=True):
    """One decision that waits or stands."""

    word: DecisionMade
    person: str
    theme: str
    rank: int
    title: str
    text: str
    of: str = ""
    """Id of the decision whose choice this one repeats."""
    made_ms: int
    expires_ms: int
    """Unix ms after which it is not worth delivering."""
    until_ms: int
    """Unix ms until which the choice stands."""
    due_ms: int = 0
    """Not delivered before, unix ms."""
    kept_ms: int = 0
    """How long what became of it is kept, ms."""
    told: list[Told] = []
    notes: list[Note] = []

    def note(self, now_ms: int, text: str) -> None:
        """Remember what happened; the same again is not said twice, and the oldest give way."""
        if not self.notes or self.notes[-1][1] != text:
            self.notes = [*self.notes[-(NOTES_MAX - 1) :], (now_ms, text)]


_decoder = msgspec.msgpack.Decoder(Delivery)
_notes_decoder = msgspec.msgpack.Decoder(list[Note])
pack = msgspec.msgpack.Encoder().encode
unpack = _decoder.decode
unpack_notes = _notes_decoder.decode
