"""paho's client, with a short way for the packets that an event costs: PUBLISH and PUBACK, in and out.

paho asks the system three times for a packet, makes tables of properties and reasons for it, takes four locks that
guard against threads which we do not have, and looks through callbacks that are not set. Here all that has come is
read at once, and all that leaves is written at once. Connecting, subscribing, keeping alive, and every packet that is
not plainly one of these stay paho's. The short way goes over methods and fields of paho's own, so a paho that lacks
one of them is driven as it wants to be (docs/adr/0030); `tests/edge_agent/shell/test_quick.py` and the conformance
suite are the contract.
"""

import socket
import time
from functools import cache
from typing import Any, Literal

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.shell import packets
from edge_agent.shell.packets import PUBACK, PUBLISH, Publish
from edge_agent.shell.properties import Packed

READ_BYTES = 65_536
"""Read at once."""
METHODS = ("_loop_rc_handle", "_mid_generate", "_packet_handle", "_packet_queue", "_sock_recv", "_sock_send")
FIELDS = ("_in_packet", "_last_bytes_received", "_last_msg_out", "_out_packet", "_protocol", "_sock")
_TAKEN = ReasonCode(PacketTypes.PUBACK)
_DONE = MQTTErrorCode.MQTT_ERR_SUCCESS
_LENGTH_BYTES_MAX = 4


def heard(message: MQTTMessage | Publish) -> Publish:
    """A message in our words, whoever read it."""
    if isinstance(message, Publish):
        return message
    told = vars(message.properties) if message.properties is not None else {}
    return Publish(
        message.mid,
        message._topic,  # noqa: SLF001 - `topic` raises where it is no UTF-8
        bytes(message.payload),
        message.qos,
        bool(message.dup),
        bool(message.retain),
        told.get("TopicAlias", 0),
        told.get("ContentType", ""),
        told.get("ResponseTopic", ""),
        told.get("CorrelationData", b""),
        tuple(told.get("UserProperty", ())),
    )


class PahoClient(Client):
    """paho as it is, asked in our words. Driven by one thread, with manual acknowledgements."""

    visits_a_message = 8
    """Readings for one message at most, on average; a peer that sends what is no message cannot hold us longer."""
    dry = False
    """Whether the last reading took all that there was; False also means: not known."""
    held = False
    """Whether whole packets that were read wait for the next reading."""

    def post(self, topic: str, payload: bytes, qos: int, properties: bytes, *, retain: bool) -> int:
        """Publish; what is not yet written leaves with `loop_write`.

        Args:
            properties: packed, with their length before them; empty under MQTT 3.1.1.
        Returns:
            The packet identifier; 0: not now.
        """
        info = self.publish(topic, payload, qos, retain, properties=Packed(properties) if properties else None)
        return 0 if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE else info.mid

    def confirm(self, mid: int) -> None:
        """Acknowledge a message of QoS 1."""
        self.ack(mid, 1)


class QuickClient(PahoClient):
    """The same, past most of paho. Both callbacks of messages must be set."""

    visits_a_message = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read = b""
        self._pending = bytearray()
        self._open: set[int] = set()
        """What we have published and the broker has not acknowledged."""

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read once and take in at most so many packets; further ones wait for the next call."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        if not self.held:
            try:
                data = self._sock_recv(READ_BYTES)
            except BlockingIOError:
                self.dry = type(self._sock) is socket.socket
                return _DONE
            except OSError:
                data = b""
            if not data:
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            # A plain socket gives all that it has.
            self.dry = len(data) < READ_BYTES and type(self._sock) is socket.socket
            self._last_bytes_received = time.monotonic()
            self._read = self._read + data if self._read else data
        return self._take_packets(max_packets)

    def _take_packets(self, most: int) -> MQTTErrorCode:
        read, at, end = self._read, 0, len(self._read)
        self.held = False
        while end - at >= 2:
            length, start = read[at + 1], at + 2
            if length > 0x7F:
                length, start = _length(read, at + 1)
                if length < 0:
                    return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
            stop = start + length
            if stop > end or start == at:
                break
            if not most:
                self.held = True
                break
            most -= 1
            rc = self._take(read[at], read, start, stop)
            at = stop
            if rc > 0 or self._sock is None:
                self._read = b""
                return self._loop_rc_handle(rc) if rc > 0 else rc
        self._read = read[at:]
        return _DONE

    def _take(self, header: int, packet: bytes, start: int, stop: int) -> MQTTErrorCode:
        """One packet: what is plain goes its short way, the rest is paho's."""
        kind = header & 0xF0
        if kind == PUBACK and stop - start == 2:
            self._settle(packet[start] << 8 | packet[start + 1], _TAKEN)
            return _DONE
        if kind == PUBLISH:
            modern = self._protocol == MQTTProtocolVersion.MQTTv5
            message = packets.read_publish(header, packet, start, stop, modern=modern)
            if message is not None:
                on_message: Any = self.on_message
                on_message(self, None, message)
                return _DONE
        self._in_packet = _read_packet(header, bytearray(packet[start:stop]))
        try:
            return self._packet_handle()
        except MalformedPacket:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        """A PUBACK that says more than that all is well: paho keeps no list of what we publish past it."""
        packet = self._in_packet["packet"]
        if len(packet) < 2:
            raise MalformedPacket(f"a {cmd} of {len(packet)} bytes")
        if cmd == "PUBACK":
            code = packet[2] if len(packet) > 2 and self._protocol == MQTTProtocolVersion.MQTTv5 else 0
            self._settle(packet[0] << 8 | packet[1], ReasonCode(PacketTypes.PUBACK, identifier=code))
        return _DONE

    def _settle(self, mid: int, reason: ReasonCode) -> None:
        if mid in self._open:
            self._open.discard(mid)
            on_publish: Any = self.on_publish
            on_publish(self, None, mid, reason, None)

    def post(self, topic: str, payload: bytes, qos: int, properties: bytes, *, retain: bool) -> int:
        mid = self._mid_generate()
        if qos:
            if mid in self._open:
                return 0
            self._open.add(mid)
        self._pending += packets.publish(topic.encode(), payload, properties, mid, qos, retain=retain)
        return mid

    def confirm(self, mid: int) -> None:
        self._pending += packets.puback(mid)

    def want_write(self) -> bool:
        return bool(self._pending or self._out_packet)

    def loop_write(self) -> MQTTErrorCode:
        if self._pending and not self._out_packet and self._sock is not None:
            try:
                sent = self._sock_send(self._pending)
            except OSError:
                sent = 0  # paho meets it again, and knows what to do
            if sent == len(self._pending):
                self._pending.clear()
                self._last_msg_out = time.monotonic()
                return _DONE
            self._queue_pending(sent)
        elif self._pending:
            self._queue_pending(0)
        return super().loop_write()

    def _queue_pending(self, sent: int) -> None:
        """Let paho write what is left. To it that is one packet, of a kind after which it has nothing to do."""
        data, self._pending = self._pending, bytearray()
        self._out_packet.append(
            {"command": PUBACK, "mid": 0, "qos": 0, "pos": sent, "to_process": len(data) - sent, "packet": data}  # type: ignore[typeddict-item]
        )

    def _packet_queue(self, *args: Any, **kwargs: Any) -> MQTTErrorCode:
        """What paho wants to send comes after what we had to send before."""
        if self._pending:
            self._queue_pending(0)
        return super()._packet_queue(*args, **kwargs)


def _read_packet(command: int, packet: bytearray) -> Any:
    """A packet as paho holds one that it has read."""
    return {
        "command": command,
        "have_remaining": 1,
        "remaining_count": [],
        "remaining_mult": 1,
        "remaining_length": len(packet),
        "packet": packet,
        "to_process": 0,
        "pos": 0,
    }


def _length(read: bytes, at: int) -> tuple[int, int]:
    """(a packet's remaining length, where it begins); (0, at - 1): not all is here; (-1, 0): it is none.

    Source: MQTT 5, section 1.5.5.
    """
    length = 0
    for n in range(_LENGTH_BYTES_MAX):
        if at + n >= len(read):
            return 0, at - 1
        length |= (read[at + n] & 0x7F) << 7 * n
        if read[at + n] < 0x80:
            return length, at + n + 1
    return -1, 0


@cache
def quick() -> type[PahoClient]:
    """The client to use: paho as it is where it is another paho than the ones that this was written for."""
    known = vars(Client(CallbackAPIVersion.VERSION2))
    fits = all(hasattr(Client, name) for name in METHODS) and all(name in known for name in FIELDS)
    return QuickClient if fits and set(known["_in_packet"]) == set(_read_packet(0, bytearray())) else PahoClient
