"""What the device remembers of a subject: trackers and the running session."""

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from edge_agent.limits import SESSION_GAP_MS
from edge_agent.memory.features import Features

if TYPE_CHECKING:
    from edge_agent.intake.minimise import Minimised


class Profile(Struct, kw_only=True):
    """One subject's state. Mutable, owned by the agent, stored whole."""

    trackers: dict[str, list[float] | str] = {}
    session_start_ms: int = 0
    session_events: int = 0
    newest_ms: int = 0
    """Largest event time seen, unix ms."""

    def take(self, event: "Minimised", features: Features) -> None:
        """Bring trackers and session up to an event; only a minimised one can come here."""
        features.update(self.trackers, event.fields, event.source, event.event_time_ms)
        if event.event_time_ms - self.newest_ms > SESSION_GAP_MS:
            self.session_start_ms, self.session_events = event.event_time_ms, 0
        self.session_events += 1
        self.newest_ms = max(self.newest_ms, event.event_time_ms)

    def session(self, now_ms: int) -> dict[str, float]:
        """What rules may ask of the session: events in it and seconds since its start."""
        return {"events": float(self.session_events), "seconds": max(0.0, (now_ms - self.session_start_ms) / 1_000)}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Profile)


def pack(profile: Profile) -> bytes:
    """The stored form."""
    return _encoder.encode(profile)


def unpack(packed: bytes) -> Profile:
    """The profile of a stored form.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decoder.decode(packed)
