"""What of the stored state is about somebody: which rows go, and what is cut out of rows that are about others too.

Names are compared whole, never as parts of other names: erasing `ann` leaves `joanna` alone.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from edge_agent.decide.bandit.pending import Chunk
from edge_agent.intake import retained
from edge_agent.limits import DRIFT

OWN = frozenset(
    {"profile", "consent", "personal", "session", "touch", "due", "standing", "contacts", "known", "caps", "experiment"}
)
"""Rooms whose keys end with whose row it is."""
NAMELESS = frozenset({"bandit", "popular", "metric", "watermark"})
"""Rooms that hold sums over everybody, by item, placement or time; no names but in the bandit's queue."""
_NOT_PEOPLE = ("reading\x00", "switched\x00", "sums\x00", "shares\x00", "queue\x00")
_PENDING = "\x00pending\x00"
_SEGMENT = re.compile(r"[\x00/]")


class Traces:
    """Names, and all that leads to them.

    Attributes:
        subjects: who is to be erased.
        leads: ids of their decisions and events, too.
        settled: placement's queue → decisions that were cut out of it.
    """

    def __init__(self, subjects: Iterable[str]) -> None:
        self.subjects = frozenset(subjects)
        self.leads = set(self.subjects)
        self.settled: dict[str, int] = {}
        parts = "|".join(re.escape(one) for one in sorted(self.subjects))
        self._within = re.compile(rf"(?<![A-Za-z0-9])(?:{parts})(?![A-Za-z0-9])")

    def after(self, room: str, key: str, value: bytes) -> bytes | None:
        """A row of the state as it is without them; None: nothing of it is left."""
        last = key.rpartition("\x00")[2]
        if room in OWN and last in self.subjects and not key.startswith(_NOT_PEOPLE):
            return None
        match room:
            case "round":
                return None  # what a learner goes on from may hold anybody's parameters
            case "delivery" | "delivered" | "letter":
                return None if key in self.leads or self.mentions(values_of(value)) else value
            case "identity":
                return self._identity(key, value)
            case "meta" if key.startswith(DRIFT):
                return None  # sums over everybody, and bounds that are somebody's values: the detectors begin anew
            case "meta" if key.startswith(retained.PREFIX):
                return None if self.names(key) else value
            case _:
                return self._shared(room, key, value)

    def _shared(self, room: str, key: str, value: bytes) -> bytes:
        """A row that is about many."""
        match room:
            case "experiment" if key.startswith("queue\x00"):
                # A place in the queue stays: the row's offset counts them.
                return self._kept(value, lambda queue: ["" if name in self.subjects else name for name in queue])
            case "withheld":
                return self._kept(value, lambda held: [one for one in held if not self.mentions(one)])
            case "bandit" if _PENDING in key and not key.endswith("\x00"):
                return self._pending(key, value)
            case "meta" if key == "present":
                return self._kept(value, lambda held: {k: v for k, v in held.items() if k not in self.subjects})
            case _:
                return value

    def head(self, key: str, value: bytes) -> bytes:
        """The head of a bandit's queue, with its count put right."""
        if not (gone := self.settled.get(key, 0)):
            return value
        first, last, count = msgspec.msgpack.decode(value, type=tuple[int, int, int])
        return msgspec.msgpack.encode((first, last, max(0, count - gone)))

    def journal(self, value: bytes) -> bytes | None:
        """A row of the journal that is nobody's own: feedback, consent, what was learned."""
        found = values_of(value)
        if isinstance(found, dict) and found.get("type") == "learned":
            personal = {k: v for k, v in found["personal"].items() if k not in self.subjects}
            return value if len(personal) == len(found["personal"]) else _encode({**found, "personal": personal})
        if isinstance(found, dict) and found.get("type") == "recorded":
            return self.decision(value)  # somebody else's event, with a field that named them
        return None if self.mentions(found) else value

    def decision(self, value: bytes) -> bytes:
        """A decision or an event of somebody else, with nothing where it named them, such as in a field."""
        return self._kept(value, self._blanked)

    def _blanked(self, value: Any) -> Any:
        match value:
            case str():
                return "" if value in self.subjects else value
            case dict():
                return {k: self._blanked(v) for k, v in value.items() if k not in self.subjects}
            case list():
                return [self._blanked(one) for one in value]
            case _:
                return value

    def message(self, topic: str, payload: bytes) -> bool:
        """Whether a message that waits is about them."""
        return self.names(topic) or self.mentions(values_of(payload))

    def names(self, text: str) -> bool:
        """Whether a key, a topic or a value names one of them."""
        return text in self.leads or any(part in self.leads for part in _SEGMENT.split(text))

    def within(self, text: str) -> bool:
        """Whether an event's id holds a name as a word of its own, such as `visit-ann-7`."""
        return text in self.leads or self._within.search(text) is not None

    def mentions(self, value: Any) -> bool:
        """Whether something decoded names one of them anywhere; what is nested too deep to tell counts as if it did."""
        try:
            return self._mentions(value)
        except RecursionError:
            return True

    def _mentions(self, value: Any) -> bool:
        match value:
            case str():
                return self.names(value)
            case bytes():
                return len(value) > 1 and self._mentions(values_of(value))
            case dict():
                return any(self._mentions(k) or self._mentions(v) for k, v in value.items())
            case list() | tuple():
                return any(self._mentions(one) for one in value)
            case _:
                return False

    def _identity(self, key: str, value: bytes) -> bytes | None:
        what, *names = key.split("\x00")
        if not self.subjects.isdisjoint(names):
            return None
        return self._kept(value, self._without) if what == "seen" else value

    def _without(self, value: Any) -> Any:
        """The same with no dictionary's entry under one of the names (the peers of another subject)."""
        match value:
            case dict():
                return {k: self._without(v) for k, v in value.items() if k not in self.subjects}
            case list():
                return [self._without(one) for one in value]
            case _:
                return value

    def _pending(self, key: str, value: bytes) -> bytes:
        try:
            chunk = msgspec.msgpack.decode(value, type=Chunk)
        except (msgspec.MsgspecError, ValueError):
            return value
        kept = [one for one in chunk if one.decision not in self.leads]
        if len(kept) == len(chunk):
            return value
        head = key.rpartition("\x00")[0] + "\x00"
        self.settled[head] = self.settled.get(head, 0) + len(chunk) - len(kept)
        return _encode(kept)

    @staticmethod
    def _kept(value: bytes, cut: Any) -> bytes:
        """A row with something cut out; one that cannot be read is left as it is."""
        try:
            found = msgspec.msgpack.decode(value)
            rest = cut(found)
        except (msgspec.MsgspecError, AttributeError, TypeError, ValueError, RecursionError):
            return value
        return value if rest == found else _encode(rest)


def values_of(value: bytes) -> Any:
    """A stored value or a payload, decoded: msgpack or JSON; what is neither, as text where it is text, else None."""
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        try:
            return decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


_encode = msgspec.msgpack.Encoder().encode
