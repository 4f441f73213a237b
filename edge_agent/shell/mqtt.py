"""The line to the broker: paho's client, driven by hand from the run loop.

Nothing is acknowledged by itself. Dialling happens in a thread of its own, because a name that does not resolve
or a host that does not answer would hold up timers; the loop touches a client only while no thread does.
"""

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import LogLevel
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.errors import BrokerError, BrokerUnreachable, SettingsMalformed
from edge_agent.happenings import Message
from edge_agent.settings import Broker
from edge_agent.shell import client as clients
from edge_agent.shell import faults, properties
from edge_agent.shell.aliases import Aliases
from edge_agent.shell.client import Will
from edge_agent.shell.cloudevents import attributes
from edge_agent.shell.line import Arrived, State
from edge_agent.shell.packets import Publish
from edge_agent.shell.quick import PahoClient, heard
from edge_agent.shell.sockets import Opened, writable
from edge_agent.shell.suspect import Suspect
from edge_agent.shell.terms import Terms, terms
from edge_agent.shell.version import Version
from edge_agent.shell.writes import OutboxRow
from firmware_configs.topics import filter_fault, topic_fault

WINDOW = 100
"""Messages that we have published and the broker has not acknowledged; the rest waits in the outbox."""
PROBE_S = 1.0
"""How often a quiet line is looked at; `keepalive_s` says when it is probed."""
DIALLING_S = 60.0
GREETING_S = 10.0
BACKOFF_MIN_S = 0.25
BACKOFF_MAX_S = 30.0
STEADY_S = 10.0
"""A line that was up for this long is worth dialling again at once; one that breaks at once is not."""
UNSTEADY = 3
"""Lines in a row that broke before they were steady: there is a reason that the broker does not tell."""
VISITS_MIN = 64
"""Readings in one turn, however few messages they bring."""
REFUSALS_MAX = 64
"""Different refusals that are told of one connection."""
KEEPALIVE_TIMEOUT = 141

_topic_fault = lru_cache(properties.REMEMBERED)(topic_fault)

# What paho lets through when a peer sends bytes that are no MQTT.
_GARBAGE: Final = (MQTTException, KeyError, IndexError, ValueError, TypeError, struct.error)


class Link:
    """One persistent session with the broker: a `Line`, which says what its members are for.

    Attributes:
        line: number of the connection, for acknowledgements belong to one.
    """

    def __init__(
        self,
        settings: Broker,
        device: str,
        will: Will | None,
        wall_ms: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        """Prepare; nothing is sent before `tend`.

        Args:
            settings: where the broker is, and who we are to it.
            device: this device's id; two agents with the same one throw each other out.
            will: last will, if the profile lets status out.
            wall_ms: unix ms, for the time of arrival.
            wake: called from the dialling thread when it is done.
        Raises:
            SettingsMalformed: a certificate, key or password file cannot be used.
        """
        self.state: State = "down"
        self.line = 0
        self.greeted: bool | None = None
        self._then: Callable[[], None] | None = None
        self.fault: BrokerError | None = None
        self.refused: list[BrokerError] = []
        self.delivered: list[int] = []
        self._settings, self._device, self._will = settings, device, will
        self._wall_ms = self.settled_ms = wall_ms
        self._wake = wake
        self._version = Version(settings.protocol)
        self._suspect = Suspect()
        self._attempts = 0
        self._due_s = self._due_probe_s = self._now_s = 0.0
        self._broken: BrokerError | None = None
        self._dialled: list[BaseException | None] = []
        self._client = self._begin()

    def _begin(self) -> PahoClient:
        """A client for the next connection, and nothing left of the last one."""
        self._terms = Terms()
        self._window = WINDOW
        self._inbox: list[Arrived] = []
        self._entries: dict[int, OutboxRow] = {}
        self._asked: dict[str, int] = {}
        self._told: set[str] = set()
        self._aliases = Aliases()
        self._error = ""
        self._owes = False
        self._opened: Opened | None = None
        client = clients.make(self._settings, self._device, self._will, self._version.now)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_log = self._on_log
        return client

    @property
    def socket(self) -> socket.socket | None:
        return self._client.socket() if self.state in {"greeting", "up"} else None  # type: ignore[return-value]

    @property
    def wants_write(self) -> bool:
        return self.state in {"greeting", "up"} and self._client.want_write()

    @property
    def holds_messages(self) -> bool:
        return self._client.held and self.state == "up"

    @property
    def room(self) -> int:
        return self._window - len(self._entries) if self.state == "up" else 0

    @property
    def in_flight(self) -> frozenset[int]:
        return frozenset((*(row[0] for row in self._entries.values()), *self.delivered))

    def tend(self, now_s: float) -> None:
        if self.state == "up" and now_s < self._due_probe_s and self._broken is None:
            return  # nearly always
        self._now_s = now_s
        if self.state == "dialling":
            if self._dialled:
                self._take_dialled(self._dialled.pop())
            elif now_s >= self._due_s:
                self.fault = faults.no_dial(self._settings)
        elif self.state == "down" and now_s >= self._due_s:
            self._start_dialling()
        elif self.state == "greeting" and now_s >= self._due_s:
            self._version.silent()
            self._break(faults.silent(self._settings))
        elif self.state in {"greeting", "up"} and now_s >= self._due_probe_s:
            self._due_probe_s = now_s + PROBE_S
            self._client.loop_misc()
            if self._attempts and self.state == "up" and now_s >= self._due_s:
                self._attempts = 0
                self._suspect.clear()
                self._window = min(WINDOW, self._terms.receive_maximum)
        self._settle()

    def drain(self, most: int) -> list[Arrived]:
        """Read until the socket is dry, or `most` messages are there; nearly all that is left stays with the kernel."""
        client = self._client
        visits = VISITS_MIN + client.visits_a_message * most
        while self.state in {"greeting", "up"} and len(self._inbox) < most and visits:
            visits -= 1
            try:
                client.loop_read(most - len(self._inbox))
            except _GARBAGE as error:
                self._break(faults.no_mqtt(error, self._settings))
            if self._broken is not None:
                self._settle()
            if self._opened is None or client.dry or not (client.held or self._opened.readable):
                break
        # What answers a single message carries TCP's acknowledgement with it; all else is acknowledged now.
        self._owes = len(self._inbox) == 1
        if self._opened is not None and not self._owes:
            self._opened.acknowledge()
        arrived, self._inbox = self._inbox, []
        return arrived

    def acknowledge(self, arrived: Iterable[Arrived]) -> None:
        for one in arrived:
            if one.message.qos and one.line == self.line and self.state == "up":
                self._client.confirm(one.mid)

    def publish(self, row: OutboxRow) -> bool:
        """Hand one message of the outbox to the broker; `delivered` tells when it has it.

        What no broker, or not this one, would take is given up by name: it would come first again on every line.

        Returns:
            False: not now, try again later.
        """
        entry, topic, payload, qos, retain, content_type, correlation, traceparent, expires_ms, kind = row
        left_ms = max(1, expires_ms - self._wall_ms()) if expires_ms else 0
        if expires_ms and expires_ms <= self.settled_ms():
            self.delivered.append(entry)
            return True
        if why := _topic_fault(topic):
            return self._give_up(entry, faults.undelivered(topic[:100], why, "correct the topic that was asked for"))
        granted, carried, name = self._terms, b"", topic
        if granted.modern:
            name, alias = self._aliases.numbered(topic)
            named = self._settings.cloudevents and kind == "decision"
            cloud = attributes(self._device, payload, content_type) if named else ()
            carried = properties.of_publish(content_type, correlation, traceparent, -(-left_ms // 1_000), alias, cloud)
            if granted.too_large(name, len(carried), len(payload)):
                why = f"{len(payload)} bytes; the broker takes packets of at most {granted.packet_bytes_max}"
                return self._give_up(entry, faults.undelivered(topic, why, "raise the broker's limit on packets"))
        if retain and not granted.retain:
            self._refuse(faults.unretained(topic))
        qos = min(qos, granted.qos_max, 1)
        mid = self._client.post(name, payload, qos, carried, retain=bool(retain and granted.retain))
        if not mid:
            return False
        if qos:
            self._entries[mid] = row
        else:
            self.delivered.append(entry)
        return True

    def _give_up(self, entry: int, fault: BrokerError) -> bool:
        self.delivered.append(entry)
        self._refuse(fault)
        return True

    def flush(self) -> None:
        """Write what the socket takes now."""
        owes, self._owes = self._owes, False
        if owes and self._opened is not None and not self.wants_write:
            self._opened.acknowledge()
        if self.wants_write:
            self._client.loop_write()
            if self._broken is not None:
                self._settle()

    def subscribe(self, filters: Mapping[str, int], stale: Iterable[str], then: Callable[[], None]) -> None:
        """Ask for `filters` (topic filter → QoS), and no more for `stale` ones; `then` once the broker has answered.

        QoS 2 is asked for as QoS 1: paho confirms the receipt of a QoS 2 message before it is committed, and
        the dedupe window makes at-least-once exactly-once anyway (docs/adr).
        """
        if stale := [name for name in stale if not filter_fault(name)]:
            self._client.unsubscribe(stale)
        self._asked = {}
        for name, qos in filters.items():
            if why := filter_fault(name) or self._terms.forbid(name):
                self._refuse(faults.unsubscribed(name, why))
            else:
                self._asked[name] = min(qos, 1)
        if not self._asked:
            then()
            return
        self._then = then
        if self._terms.modern:
            # With its retained flag kept, a message that will come again on the next subscription is known as one.
            options = [(name, SubscribeOptions(qos, retainAsPublished=True)) for name, qos in self._asked.items()]
            self._client.subscribe(options)
        else:
            self._client.subscribe(list(self._asked.items()))

    def close(self, seconds: float) -> None:
        if self.state == "up":
            if self._terms.modern:
                self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
            until_s = time.monotonic() + seconds
            while self.wants_write and writable(self.socket, until_s - time.monotonic()):
                self._client.loop_write()
            if (opened := self.socket) is not None:
                # MQTT 3.1.1 has no such goodbye: a DISCONNECT would take the last will back.
                opened.close()
        self._hang_up()
        self.state = "down"

    def _hang_up(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def _start_dialling(self) -> None:
        try:
            self._client = self._begin()
        except SettingsMalformed as error:  # what was right at start was changed on disk
            self._break(BrokerUnreachable(error.what, hint=error.hint))
            return
        self.state = "dialling"
        self._due_s = self._now_s + DIALLING_S
        threading.Thread(target=self._dial, name="dial", daemon=True).start()

    def _dial(self) -> None:
        try:
            self._client.reconnect()
        except Exception as error:  # noqa: BLE001  whatever a stranger's bytes raise there, the loop has to hear of it
            self._dialled.append(error)
        else:
            self._dialled.append(None)
        self._wake()

    def _take_dialled(self, error: BaseException | None) -> None:
        if error is not None:
            self._break(faults.unreachable(error, self._settings))
            return
        self.state = "greeting"
        self._due_s = self._now_s + GREETING_S
        self.line += 1
        if (opened := self.socket) is not None:
            self._opened = Opened(opened)

    def _break(self, fault: BrokerError) -> None:
        """Remember why the line is gone; the first reason is the telling one."""
        self._broken = self._broken or fault

    def _settle(self) -> None:
        if self._broken is None:
            return
        self.fault, self._broken = self._broken, None
        if self.state == "up":
            self._version.parted()
        self.state = "down"
        self._hang_up()
        # At QoS 0 it came once and for all; the rest comes again.
        self._inbox = [one for one in self._inbox if not one.message.qos]
        wait_s = min(BACKOFF_MIN_S * 2**self._attempts, BACKOFF_MAX_S)
        self._attempts = min(self._attempts + 1, 16)
        # Jitter, so that a fleet does not come back all at once.
        self._due_s = self._now_s + wait_s * random.uniform(0.5, 1.0)  # noqa: S311

    def _refuse(self, fault: BrokerError) -> None:
        """Tell of something that the broker did not take, once a connection."""
        if fault.what not in self._told and len(self._told) < REFUSALS_MAX:
            self._told.add(fault.what)
            self.refused.append(fault)

    def _on_connect(
        self, client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, told: Properties | None
    ) -> None:
        if self.state != "greeting":
            self._break(faults.no_mqtt("it greeted us twice", self._settings))
            return
        if reason.is_failure:
            unsupported = reason.value == faults.UNSUPPORTED_VERSION
            stepped = unsupported and self._version.unsupported()
            self._break(faults.steps_down(self._settings) if stepped else faults.refused(reason, self._settings, told))
            return
        client.on_log = None
        self.state = "up"
        self.fault = None
        self._due_s = self._now_s + STEADY_S
        self._version.greeted()
        self._terms = terms(client.protocol, told)
        self._aliases.allowed = self._terms.aliases
        self._window = 1 if self._suspect.cautious else min(WINDOW, self._terms.receive_maximum)
        self.greeted = bool(flags.session_present)
        kept_s = self._terms.session_s
        if kept_s is not None and kept_s < self._settings.session_expiry_s:
            self._refuse(faults.forgetful(kept_s, self._settings))

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: DisconnectFlags, reason: ReasonCode, told: Properties | None
    ) -> None:
        if self.state == "up" and reason.value != KEEPALIVE_TIMEOUT:
            self._look_for_suspect()
        if flags.is_disconnect_packet_from_server:
            self._break(faults.refused(reason, self._settings, told))
        elif self.state == "greeting":
            if self._broken is None:
                self._version.ungreeted()
            self._break(faults.ungreeted(self._settings, self._error))
        elif self._asked:
            self._break(faults.unsubscribable(self._settings))
        elif self._attempts >= UNSTEADY:
            self._break(faults.unsteady(self._settings))
        else:
            self._break(faults.lost(reason, self._settings))

    def _look_for_suspect(self) -> None:
        """Whether it is one message that the broker hangs up on."""
        found = self._suspect.hung_up([row[0] for row in self._entries.values()])
        if found is not None:
            row = next(iter(self._entries.values()))
            why = f"the broker closes the connection on it ({len(row[2])} bytes)"
            self._give_up(found, faults.undelivered(row[1], why))

    def _on_message(self, _client: Client, _data: Any, came: MQTTMessage | Publish) -> None:
        if self.state != "up":
            self._break(faults.no_mqtt("a message before its greeting", self._settings))
            return
        message = heard(came)
        try:
            topic = message.name.decode()
        except UnicodeDecodeError:
            topic = ""  # routed nowhere, so rejected and counted like any unknown topic
        if message.alias:
            named = self._aliases.named(topic, message.alias)
            if named is None:
                self._break(faults.no_mqtt(f"topic alias {message.alias} names nothing", self._settings))
                return
            topic = named
        traceparent, others = "", message.user
        if others:
            traceparent = next((value for name, value in others if name == "traceparent"), "")
            others = tuple(pair for pair in others if pair[0] != "traceparent")
        self._inbox.append(
            Arrived(
                Message(
                    topic=topic,
                    payload=message.payload,
                    qos=message.qos,
                    mid=message.mid,
                    dup=message.dup,
                    retain=message.retain,
                    content_type=message.content_type,
                    response_topic=message.response_topic,
                    correlation=message.correlation,
                    traceparent=traceparent,
                    properties=others,
                    arrived_ms=self._wall_ms(),
                ),
                message.mid,
                self.line,
            )
        )

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _told: Properties | None) -> None:
        row = self._entries.pop(mid, None)
        if row is None:
            return
        if reason.is_failure:
            self._give_up(row[0], faults.undelivered(row[1], reason))
            return
        self.delivered.append(row[0])
        self._aliases.taken(row[1])

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _told: Properties | None
    ) -> None:
        asked, self._asked = self._asked, {}
        for (name, qos), reason in zip(asked.items(), reasons, strict=False):
            if reason.is_failure:
                self._refuse(faults.unsubscribed(name, reason))
            elif reason.value < qos:
                self._refuse(faults.downgraded(name, reason.value, qos))
        then, self._then = self._then, None
        if then is not None:
            then()

    def _on_log(self, _client: Client, _data: Any, level: int, text: str) -> None:
        """Before the greeting paho tells in its log alone what went wrong, such as TLS's own word."""
        if level == LogLevel.MQTT_LOG_ERR:
            self._error = text[: faults.REASON_CHARACTERS_MAX]
