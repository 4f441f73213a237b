"""The way out: everything that leaves is entered here first, or does not leave."""

import hashlib
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from edge_agent import __version__
from edge_agent.batch import Batch
from edge_agent.decide.decision import Trail
from edge_agent.effects import Log, Send
from edge_agent.egress.ledger import Ledger
from edge_agent.errors import EgressError, IntakeError
from edge_agent.intake.minimise import Minimised
from edge_agent.limits import REJECTION_EVERY_MS
from edge_agent.timings import Untimed
from edge_agent.wire import write_word
from firmware_configs.histogram import Histogram
from firmware_configs.messages import (
    JSON,
    MSGPACK,
    Alert,
    BundleState,
    DecisionMade,
    Rejected,
    Reported,
    Status,
    Topics,
)
from firmware_configs.profile import Actuator, Placement, Profile

REJECTION_KINDS_MAX = 1_000


class Figures(NamedTuple):
    """What status tells besides the counters."""

    signal_to_decision_ms: dict[str, Histogram]
    arrival_to_decision_ms: dict[str, Histogram]
    complete_to_ms: int
    ledger_seal: bytes


class Reply(Struct, frozen=True, kw_only=True):
    """Where a decision goes, and how; the default is the placement's own topic."""

    topic: str = ""
    data: bytes = b""
    """MQTT 5 Correlation Data."""
    correlation: str = ""
    """Echoed in the payload."""
    as_json: bool = False


OWN_TOPIC = Reply()


class Gate:
    """Turns what the agent wants to say into entered sends, and counts what may not be said."""

    def __init__(
        self,
        profile: Profile,
        profile_hash: str,
        device: str,
        counters: dict[str, int],
        figures: Callable[[int], Figures],
        timings: Untimed,
        home_assistant: str = "",
    ) -> None:
        """Set up.

        Args:
            counters: the agent's own; some are kept here.
            figures: unix ms now → what else status tells.
            timings: knows what is traced.
            home_assistant: discovery prefix under which this device is announced; empty: it is not.
        """
        self.ledger = Ledger(profile.egress, profile_hash)
        self._hash, self._class = profile_hash, profile.device.class_
        self._device = device
        self._topics = Topics(device)
        self._counters, self._figures, self._timings = counters, figures, timings
        self._profile, self._home_assistant = profile, home_assistant
        self._rejected_ms: dict[tuple[str, str], int] = {}
        self._told: set[str] = set()

    @property
    def last_will(self) -> bytes:
        """What the broker says for us when we are gone; the same at every connection."""
        word = Status(device=self._device, online=False, agent=__version__)
        return write_word(word, as_json=bool(self._home_assistant))

    def enter_will(self, batch: Batch) -> None:
        """Enter the last will that the broker was handed with this connection, and may publish."""
        payload = self.last_will
        try:
            _, key, row = self.ledger.enter(
                "status",
                size=len(payload),
                sha256=hashlib.sha256(payload).hexdigest(),
                now_ms=batch.now_ms,
                privacy="a last will, which the broker publishes when this connection ends",
            )
        except EgressError as error:
            self._refused("status", error, batch)
            return
        batch.put("ledger", key, row)

    def send(
        self,
        kind: str,
        topic: str,
        payload: bytes,
        batch: Batch,
        *,
        retain: bool = False,
        content_type: str = MSGPACK,
        correlation: bytes = b"",
        traceparent: str = "",
        expires_ms: int = 0,
        placement: str = "",
        signal_ms: int = 0,
        privacy: str = "",
    ) -> bool:
        """Enter and send; False (counted, said once) when the profile does not let it out."""
        try:
            entered, key, row = self.ledger.enter(
                kind,
                size=len(payload),
                sha256=hashlib.sha256(payload).hexdigest(),
                now_ms=batch.now_ms,
                privacy=privacy,
            )
        except EgressError as error:
            self._refused(kind, error, batch)
            return False
        batch.put("ledger", key, row)
        batch.effects.append(
            Send(
                entered=entered,
                topic=topic,
                payload=payload,
                retain=retain,
                content_type=content_type,
                correlation=correlation,
                traceparent=traceparent,
                expires_ms=expires_ms,
                placement=placement,
                signal_ms=signal_ms,
            )
        )
        return True

    def _refused(self, kind: str, error: EgressError, batch: Batch) -> None:
        name = f"withheld.{kind}.{error.code}"
        self._counters[name] = self._counters.get(name, 0) + 1
        if name not in self._told:
            self._told.add(name)
            batch.effects.append(Log(level="warning", code=error.code, text=f"{error.what}; fix: {error.hint}"))

    def decision(self, trail: Trail, placement: Placement, reply: Reply, batch: Batch) -> bool:
        """Publish a decision, on its topic or as the answer to a request; False when it may not leave."""
        return self.publish(
            self.word(trail, reply.correlation), reply, batch.now_ms + int(placement.expiry_s * 1_000), batch
        )

    def word(self, trail: Trail, correlation: str = "") -> DecisionMade:
        """A decision as it goes over the wire."""
        return DecisionMade(
            id=trail.id,
            placement=trail.placement,
            items=trail.items,
            propensity=trail.propensity,
            propensities=trail.propensities,
            score=trail.score,
            subject=trail.subject,
            channel=trail.channel,
            arm=trail.arm,
            fallback=trail.fallback,
            bundles=trail.bundles,
            profile=self._hash[:16],
            event_time_ms=trail.event_time_ms,
            decided_ms=trail.decided_ms,
            traceparent=self._timings.outgoing(trail),
            correlation=correlation,
        )

    def decision_topic(self, placement: str) -> str:
        """Where a placement's decisions go."""
        return self._topics.of("decision", placement)

    def publish(self, word: DecisionMade, reply: Reply, expires_ms: int, batch: Batch, *, retain: bool = False) -> bool:
        """Publish a decision's word; False when the profile does not let it out."""
        return self.send(
            "decision",
            reply.topic or self._topics.of("decision", word.placement),
            write_word(word, as_json=reply.as_json),
            batch,
            retain=retain,
            content_type=JSON if reply.as_json else MSGPACK,
            correlation=reply.data,
            traceparent=word.traceparent,
            expires_ms=expires_ms,
            placement=word.placement,
            # How long one took that waited for its moment, or that is taken back, says nothing about speed.
            signal_ms=word.event_time_ms if word.decided_ms == batch.now_ms and not word.retracted else 0,
        )

    def command(self, actuator: Actuator, payload: str, expiry_s: float, batch: Batch) -> None:
        """Publish an actuator's command, as the decision that it is."""
        self.send(
            "decision",
            actuator.topic.replace("{device}", self._device),
            payload.encode(),
            batch,
            content_type="text/plain",
            expires_ms=batch.now_ms + int(expiry_s * 1_000),
        )

    def late(self, event: Minimised, batch: Batch) -> None:
        """Publish a late event, minimised, on its side topic."""
        payload = write_word_of_event(event)
        self.send("late-event", self._topics.of("late", event.source), payload, batch, content_type=JSON)

    def reject(self, error: IntakeError, source: str, batch: Batch) -> None:
        """Count a rejection; publish one now and then. The payload is in neither."""
        name = f"rejected.{error.code}"
        self._counters[name] = self._counters.get(name, 0) + 1
        key = (error.code, source)
        if 0 <= batch.now_ms - self._rejected_ms.get(key, -REJECTION_EVERY_MS) < REJECTION_EVERY_MS:
            return
        if len(self._rejected_ms) >= REJECTION_KINDS_MAX:
            self._rejected_ms.clear()
        self._rejected_ms[key] = batch.now_ms
        batch.effects.append(Log(level="warning", code=error.code, text=f"{source}: {error.what}; fix: {error.hint}"))
        if self.ledger.declared("rejection") is None:
            return
        word = Rejected(
            code=error.code, source=source, reason=error.what, count=self._counters[name], time_ms=batch.now_ms
        )
        self.send("rejection", self._topics.of("rejected"), write_word(word, as_json=True), batch, content_type=JSON)

    def alert(self, word: Alert, batch: Batch) -> None:
        """Log an alert or its end, and publish it where the profile lets alerts out."""
        level: Literal["info", "warning"] = "warning" if word.state == "firing" else "info"
        over = "" if word.state == "firing" else "over: "
        batch.effects.append(Log(level=level, code=f"alert.{word.kind}", text=f"{over}{word.what}"))
        if self.ledger.declared("alert") is not None:
            self.send("alert", self._topics.of("alert"), write_word(word, as_json=True), batch, content_type=JSON)

    def status(self, batch: Batch) -> None:
        """Publish that this device is up, with its counters and figures (retained)."""
        figures = self._figures(batch.now_ms)
        word = Status(
            device=self._device,
            online=True,
            agent=__version__,
            profile=self._hash[:16],
            device_class=self._class,
            counters=self._counters,
            **figures._asdict(),
            time_ms=batch.now_ms,
        )
        # Home Assistant reads no msgpack; the coordinator reads both.
        self._retained("status", word, batch, as_json=bool(self._home_assistant))

    def announce(self, batch: Batch) -> None:
        """Tell Home Assistant of this device (retained), where the settings wish it."""
        if self._home_assistant:
            # Few devices do.
            from edge_agent.announcing import discovery, topic_of

            payload = msgspec.json.encode(discovery(self._device, self._profile))
            topic = topic_of(self._home_assistant, self._device)
            self.send("status", topic, payload, batch, retain=True, content_type=JSON)

    def reported(
        self,
        revision: int,
        bundles: dict[str, BundleState],
        learning: str,
        run: str,
        batch: Batch,
        *,
        ignored: str = "",
        documents: dict[str, BundleState] | None = None,
    ) -> None:
        """Publish what this device runs (retained)."""
        word = Reported(
            device=self._device,
            revision=revision,
            bundles=bundles,
            learning=learning,
            run=run,
            ledger_head=self.ledger.head,
            time_ms=batch.now_ms,
            ignored=ignored,
            documents=documents or {},
        )
        self._retained("reported", word, batch)

    def _retained(self, what: str, word: Status | Reported, batch: Batch, *, as_json: bool = False) -> None:
        payload, content_type = write_word(word, as_json=as_json), JSON if as_json else MSGPACK
        self.send("status", self._topics.of(what), payload, batch, retain=True, content_type=content_type)


def write_word_of_event(event: Minimised) -> bytes:
    """A minimised event as JSON."""
    return msgspec.json.encode(
        {"id": event.event_id, "time_ms": event.event_time_ms, "subject": event.subject, **event.fields}
    )
