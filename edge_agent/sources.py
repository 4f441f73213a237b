"""One source of the profile, compiled: from a message to a minimised event."""

import hashlib
from collections.abc import Callable, Collection
from typing import Any

from edge_agent.errors import FieldInvalid
from edge_agent.happenings import Message
from edge_agent.intake.event import Fields, at_path, decode
from edge_agent.intake.minimise import Minimised, Minimiser
from edge_agent.intake.watermark import Watermark, event_time_reader, plausible
from edge_agent.limits import DAY_MS, ID_MAX
from edge_agent.memory.consent import Consents
from firmware_configs.profile import Retention, Source

HOUSEHOLD = "household"
"""The subject of events that are about nobody in particular."""


class CompiledSource:
    """Decodes, identifies, dates and minimises the events of one source."""

    def __init__(
        self, source: Source, retention: dict[str, Retention], consent_needed: Collection[str], secret: bytes
    ) -> None:
        self.name = source.name
        self.late = source.late
        self.critical = source.critical
        self.watermark = Watermark(int(source.lateness_s * 1_000), int(source.idle_s * 1_000))
        self.session_gap_ms = int(source.session_gap_s * 1_000)
        days = min(retention[field.category].days for field in source.field)
        self.retention_ms = int(days * DAY_MS)
        self.minimiser = Minimiser(source, consent_needed, secret)
        self._codec = source.codec
        self._id = tuple(source.event_id.split(".")) if source.event_id else ()
        self._time = tuple(source.event_time.split(".")) if source.event_time else ()
        self._gpc = tuple(source.gpc.split(".")) if source.gpc else ()
        self._read_time = event_time_reader(source.event_time_unit)
        self._unnamed = f"{self.name}:@"
        self._newest = (0, 0)
        """Arrival in unix ms of the newest event without a name, and how many came in that millisecond before it."""

    def read(
        self, message: Message, consents: Consents, objects: Callable[[str, int], None]
    ) -> tuple[Minimised | None, bool]:
        """The minimised event, None when consent leaves nothing; and whether the event's own clock was believed.

        Args:
            objects: told (subject, unix ms) when the event carries Global Privacy Control, and it makes a difference.
        Raises:
            IntakeError: the payload, its id, its time, its subject or a field is not what the profile says.
        """
        found = decode(self._codec, message.payload, message.content_type, message.properties, message.topic)
        raw_time = at_path(found, self._time) if self._time else None
        told = self._read_time(raw_time) if raw_time is not None else message.arrived_ms
        believed = plausible(told, message.arrived_ms)
        subject = self.minimiser.subject(found, HOUSEHOLD)
        at_ms, served = told if believed else message.arrived_ms, consents.served(subject)
        if self._gpc and not consents.shares.isdisjoint(served) and at_path(found, self._gpc) is True:
            objects(subject, min(at_ms, message.arrived_ms))
            served = served - consents.shares
        event = self.minimiser.minimise(found, self._event_id(found, message, raw_time), at_ms, subject, served)
        return event, believed

    def sighting(self, event: Minimised, message: Message) -> tuple[str, bool]:
        """What another delivery of the event is known by, and whether this may be one.

        An event that says neither who nor when it is, such as `on`, is not the one of an hour ago because it reads the
        same. What is delivered again has the packet identifier that it had.
        """
        if self._id or not event.event_id.startswith(self._unnamed):
            return event.event_id, True
        return f"{self._unnamed}{_digest(message, '')}:{message.mid}", message.dup

    def identity(self, event: Minimised, message: Message) -> str:
        """What a retained event is known by, however often it comes."""
        if self._id or not event.event_id.startswith(self._unnamed):
            return event.event_id
        return f"{self._unnamed}{_digest(message, '')}"

    @property
    def named(self) -> bool:
        """Whether events have ids of their own."""
        return bool(self._id)

    def _event_id(self, found: Fields, message: Message, raw_time: Any) -> str:
        if not self._id and raw_time is not None:
            return f"{self.name}:{_digest(message, str(raw_time))}"
        if not self._id:
            arrived, before = self._newest
            self._newest = (message.arrived_ms, before + 1 if arrived == message.arrived_ms else 0)
            return f"{self._unnamed}{_digest(message, ' '.join(map(str, self._newest)))}"
        value = at_path(found, self._id)
        if type(value) is int:
            value = str(value)
        if type(value) is not str or not 0 < len(value) <= ID_MAX:
            raise FieldInvalid(
                f"`{'.'.join(self._id)}` is no event id", hint=f"send text of at most {ID_MAX} characters there"
            )
        return f"{self.name}:{value}"


def _digest(message: Message, when: str) -> str:
    basis = message.topic.encode() + b"\x00" + when.encode() + b"\x00" + message.payload
    return hashlib.sha256(basis).hexdigest()[:32]
