"""The line to the broker: paho's client, driven by hand from the run loop.

Nothing is acknowledged by itself. Dialling happens in a thread of its own, because a name that does not resolve
or a host that does not answer would hold up timers; the loop touches the client only while no thread does.
"""

import contextlib
import random
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.errors import BrokerError, BrokerRefused, SettingsMalformed
from edge_agent.happenings import Message
from edge_agent.settings import Broker
from edge_agent.shell import faults, properties
from edge_agent.shell.writes import OutboxRow

PACKET_BYTES_MAX = 1_048_576
"""Larger messages are the broker's to drop; what is above the agent's own limit is rejected by name."""
WINDOW = 100
"""Messages that we have published and the broker has not acknowledged; the rest waits in the outbox."""
PROBE_S = 1.0
"""How often a quiet line is looked at; `keepalive_s` says when it is probed."""
DIAL_S = 5.0
GREETING_S = 10.0
BACKOFF_MIN_S = 0.25
BACKOFF_MAX_S = 30.0
QUICK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux only."""
_LET_US_PUBLISH = "let this device publish under its own topics in the broker's access list"
_LET_US_READ = "let this device read its topics in the broker's access list, or correct the profile's `topic`"

State = Literal["down", "dialling", "greeting", "up"]
# What paho lets through when a peer sends bytes that are no MQTT.
_GARBAGE: Final = (MQTTException, KeyError, IndexError, ValueError, TypeError, struct.error)


class Arrived(Struct, frozen=True, array_like=True):
    """A message, and what its acknowledgement needs."""

    message: Message
    mid: int
    line: int
    """Which connection brought it."""


class Will(Struct, frozen=True, kw_only=True):
    """What the broker says for us when we are gone."""

    topic: str
    payload: bytes
    content_type: str


class Link:
    """One persistent session with the broker.

    Attributes:
        state: down, dialling (a thread connects), greeting (CONNECT is sent), up.
        greeted: set by a connect, for the loop to take: whether the broker remembered our session.
        fault: why there is no line; None when there is one.
        refused: subscriptions or messages that the broker refused since they were last taken.
        line: number of the connection, for acknowledgements belong to one.
        delivered: outbox entries that the broker has acknowledged since they were last taken.
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
        self.fault: BrokerError | None = None
        self.refused: list[BrokerError] = []
        self.delivered: list[int] = []
        self._settings = settings
        self._wall_ms = wall_ms
        self._wake = wake
        self._inbox: list[Arrived] = []
        self._entries: dict[int, int] = {}
        self._window = WINDOW
        self._attempts = 0
        self._due_s = self._due_probe_s = 0.0
        self._now_s = 0.0
        self._broken: BrokerError | None = None
        self._asked: list[str] = []
        self._dialled: list[BaseException | None] = []
        self._poll = select.poll()
        self._client = self._make_client(device, will)

    def _make_client(self, device: str, will: Will | None) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            f"edgeward-{device}",
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = DIAL_S
        client.max_inflight_messages = 65_535
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        # With this set, paho leaves writing to us: many packets, one visit.
        client.on_socket_register_write = lambda *_: None
        if will is not None:
            own_will = Properties(PacketTypes.WILLMESSAGE)
            own_will.ContentType = will.content_type
            client.will_set(will.topic, will.payload, qos=1, retain=True, properties=own_will)
        identify(client, self._settings)
        asked = properties.of_connect(self._settings.session_expiry_s, self._settings.receive_maximum, PACKET_BYTES_MAX)
        client.connect_async(
            self._settings.host,
            self._settings.port,
            keepalive=self._settings.keepalive_s,
            clean_start=False,
            properties=asked,
        )
        return client

    @property
    def socket(self) -> socket.socket | None:
        """The connected socket, to wait on; None while there is none or a thread dials."""
        return self._client.socket() if self.state in {"greeting", "up"} else None  # type: ignore[return-value]

    @property
    def wants_write(self) -> bool:
        """Whether something waits for the socket to take it."""
        return self.state in {"greeting", "up"} and self._client.want_write()

    @property
    def room(self) -> int:
        """How many more messages may be published before the broker acknowledges some."""
        return self._window - len(self._entries) if self.state == "up" else 0

    @property
    def in_flight(self) -> frozenset[int]:
        """Outbox entries that this connection has been given and that are not yet deleted."""
        return frozenset((*self._entries.values(), *self.delivered))

    def tend(self, now_s: float) -> None:
        """Dial when it is time, probe a silent line, give up on a broker that does not greet.

        Args:
            now_s: monotonic seconds.
        """
        self._now_s = now_s
        if self.state == "dialling" and self._dialled:
            self._take_dialled(self._dialled.pop())
        elif self.state == "down" and now_s >= self._due_s:
            self.state = "dialling"
            threading.Thread(target=self._dial, name="dial", daemon=True).start()
        elif self.state == "greeting" and now_s >= self._due_s:
            self._break(faults.silent(self._settings))
        elif self.state in {"greeting", "up"} and now_s >= self._due_probe_s:
            self._due_probe_s = now_s + PROBE_S
            self._client.loop_misc()
        self._settle()

    def drain(self, most: int) -> list[Arrived]:
        """Read until the socket is dry, or `most` messages are there; what is left stays with the kernel.

        paho reads a packet or two at a visit, so it is visited until nothing more is ready.
        """
        while self.state in {"greeting", "up"} and len(self._inbox) < most:
            try:
                self._client.loop_read()
            except _GARBAGE as error:
                self._break(faults.lost(f"the broker sent no MQTT: {error}", self._settings))
            self._settle()
            if not self._readable():
                break
        self._acknowledge_bytes()
        arrived, self._inbox = self._inbox, []
        return arrived

    def _acknowledge_bytes(self) -> None:
        """Ask the kernel to acknowledge now what was read.

        Brokers that leave Nagle's algorithm on (mosquitto by default, rumqttd always) hold the next small packet
        back until then, and Linux would wait 40 ms for company. The wish is forgotten after each read.
        """
        opened = self.socket
        if QUICK is not None and opened is not None:
            with contextlib.suppress(OSError):
                opened.setsockopt(socket.IPPROTO_TCP, QUICK, 1)

    def acknowledge(self, arrived: Iterable[Arrived]) -> None:
        """Acknowledge in order of arrival, after the commit; what an earlier line brought comes again anyway."""
        for one in arrived:
            if one.message.qos and one.line == self.line and self.state == "up":
                self._client.ack(one.mid, one.message.qos)

    def publish(self, row: OutboxRow) -> bool:
        """Hand one message of the outbox to the broker; `delivered` tells when it has it.

        Returns:
            False: not now, try again later.
        """
        entry, topic, payload, qos, retain, content_type, correlation, traceparent, expires_ms, _kind = row
        left_ms = expires_ms - self._wall_ms() if expires_ms else 0
        if expires_ms and left_ms <= 0:
            self.delivered.append(entry)
            return True
        carried = properties.of_publish(content_type, correlation, traceparent, -(-left_ms // 1_000))
        info = self._client.publish(topic, payload, qos, bool(retain), properties=carried)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            return False
        if qos:
            self._entries[info.mid] = entry
        else:
            self.delivered.append(entry)
        return True

    def flush(self) -> None:
        """Write what the socket takes now."""
        if self.wants_write:
            self._client.loop_write()
            self._settle()

    def subscribe(self, filters: Mapping[str, int], stale: Iterable[str]) -> None:
        """Ask for `filters` (topic filter → QoS), and no more for `stale` ones.

        QoS 2 is asked for as QoS 1: paho confirms the receipt of a QoS 2 message before it is committed, and
        the dedupe window makes at-least-once exactly-once anyway.
        """
        if stale := list(stale):
            self._client.unsubscribe(stale)
        self._asked = [name for name, _ in filters.items()]
        self._client.subscribe([(name, SubscribeOptions(min(qos, 1))) for name, qos in filters.items()])

    def close(self, seconds: float) -> None:
        """Say goodbye so that the broker publishes our last will, and wait for the bytes to leave."""
        if self.state == "up":
            self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
            while self.wants_write and _writable(self.socket, seconds):
                self._client.loop_write()
        self.state = "down"

    def _dial(self) -> None:
        try:
            self._client.reconnect()
        except (OSError, ValueError) as error:
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
            # A decision is smaller than a segment: Nagle would hold the second one back.
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll = select.poll()
            self._poll.register(opened, select.POLLIN)

    def _readable(self) -> bool:
        opened = self.socket
        if opened is None:
            return False
        if isinstance(opened, ssl.SSLSocket) and opened.pending():
            return True
        return bool(self._poll.poll(0))

    def _break(self, fault: BrokerError) -> None:
        """Remember why the line is gone; the first reason is the telling one."""
        self._broken = self._broken or fault

    def _settle(self) -> None:
        if self._broken is None:
            return
        self.fault, self._broken = self._broken, None
        self.state = "down"
        self._inbox.clear()
        wait_s = min(BACKOFF_MIN_S * 2**self._attempts, BACKOFF_MAX_S)
        self._attempts = min(self._attempts + 1, 16)
        # Jitter, so that a fleet does not come back all at once.
        self._due_s = self._now_s + wait_s * random.uniform(0.5, 1.0)  # noqa: S311

    def _on_connect(
        self, _client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, told: Properties | None
    ) -> None:
        if reason.is_failure:
            self._break(faults.refused(reason, self._settings))
            return
        self.state = "up"
        self.fault = None
        self._attempts = 0
        self._window = min(WINDOW, getattr(told, "ReceiveMaximum", WINDOW))
        self.greeted = bool(flags.session_present)

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: DisconnectFlags, reason: ReasonCode, _told: Properties | None
    ) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        self._break((faults.refused if by_broker else faults.lost)(reason, self._settings))

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # routed nowhere, so rejected and counted like any unknown topic
        told = vars(message.properties) if message.properties is not None else {}
        carried: list[tuple[str, str]] = told.get("UserProperty", [])
        traceparent = next((value for name, value in carried if name == "traceparent"), "")
        self._inbox.append(
            Arrived(
                Message(
                    topic=topic,
                    payload=bytes(message.payload),
                    qos=message.qos,
                    retain=bool(message.retain),
                    content_type=told.get("ContentType", ""),
                    response_topic=told.get("ResponseTopic", ""),
                    correlation=told.get("CorrelationData", b""),
                    traceparent=traceparent,
                    properties=tuple((n, v) for n, v in carried if n != "traceparent"),
                    arrived_ms=self._wall_ms(),
                ),
                message.mid,
                self.line,
            )
        )

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _told: Properties | None) -> None:
        entry = self._entries.pop(mid, None)
        if entry is None:
            return
        self.delivered.append(entry)
        if reason.is_failure:
            self.refused.append(
                BrokerRefused(f"the broker took a message and threw it away: {reason}", hint=_LET_US_PUBLISH)
            )

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _told: Properties | None
    ) -> None:
        for name, reason in zip(self._asked, reasons, strict=False):
            if reason.is_failure:
                self.refused.append(BrokerRefused(f"no subscription to {name}: {reason}", hint=_LET_US_READ))


def _writable(opened: socket.socket | None, seconds: float) -> bool:
    return opened is not None and bool(select.select([], [opened], [], seconds)[1])


def identify(client: Client, broker: Broker) -> None:
    """Who we are to the broker, and whom we trust to be it."""
    password = None
    if broker.password_file:
        try:
            password = Path(broker.password_file).read_text(encoding="utf-8").split("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsMalformed(
                f"broker.password_file: {broker.password_file} cannot be read: {error}",
                hint="write the password in its first line",
            ) from error
    if broker.user:
        client.username_pw_set(broker.user, password)
    if broker.tls:
        try:
            client.tls_set(broker.ca or None, broker.cert or None, broker.key or None)
        except (OSError, ValueError) as error:
            raise SettingsMalformed(
                f"broker: ca, cert or key cannot be used: {error}", hint="give PEM files that belong together"
            ) from error
