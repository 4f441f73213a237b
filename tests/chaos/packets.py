"""IPv4, TCP and MQTT as they are on the wire: just as much as is needed to say what a device let out.

Sources: RFC 791, section 3.1; RFC 9293, section 3.1; MQTT 5, sections 2.1, 3.1 and 3.3; MQTT 3.1.1, the same.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

TCP = 6
FIN, SYN, RST = 1, 2, 4
SEQUENCE = 2**32
CONNECT, PUBLISH = 1, 3
WILL = 0x04
ALIAS, VARIABLE, PAIR, FIXED = 0x23, 0x0B, 0x26, {0x01: 1, 0x02: 4}
"""Properties of a PUBLISH by how long they are; the others are one text each."""


class Segment(NamedTuple):
    """One TCP segment."""

    source: str
    destination: str
    source_port: int
    port: int
    number: int
    """Of its first byte, modulo 2³²."""
    flags: int
    payload: bytes

    @property
    def flow(self) -> tuple[str, int, int]:
        """The other side's address, and both ports: which connection of this device it is."""
        return self.destination, self.port, self.source_port


def segment(packet: bytes) -> Segment | None:
    """The TCP segment of a whole IPv4 packet; None: it holds something else."""
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != TCP:
        return None
    start, end = (packet[0] & 0x0F) * 4, struct.unpack_from("!H", packet, 2)[0]
    source_port, port, number, _, offset, flags = struct.unpack_from("!HHIIBB", packet, start)
    body = packet[start + (offset >> 4) * 4 : end]
    return Segment(address(packet, 12), address(packet, 16), source_port, port, number, flags, bytes(body))


def address(packet: bytes, at: int) -> str:
    """The IPv4 address at a place, such as 10.77.0.1."""
    return ".".join(map(str, packet[at : at + 4]))


@dataclass
class Stream:
    """One direction of a connection, put together again from segments that come late, twice, or overlap."""

    next: int
    """Sequence number of the next byte."""
    whole: bytearray = field(default_factory=bytearray)
    """What came in order and nobody has taken."""
    early: dict[int, bytes] = field(default_factory=dict)
    """Sequence number → bytes that wait for those before them."""

    def add(self, number: int, payload: bytes) -> None:
        """Take in a segment's bytes."""
        if payload:
            kept = self.early.get(number, b"")
            self.early[number] = max(kept, payload, key=len)
        while (found := self._due()) is not None:
            number, ahead = found
            payload = self.early.pop(number)[ahead:]
            self.whole += payload
            self.next = (self.next + len(payload)) % SEQUENCE

    def _due(self) -> tuple[int, int] | None:
        """(number of a segment that goes on from here, how many of its bytes are known)."""
        for number, payload in self.early.items():
            ahead = (self.next - number) % SEQUENCE
            if ahead < SEQUENCE // 2:
                return number, min(ahead, len(payload))
        return None


class Said(NamedTuple):
    """A payload that a device handed to a broker."""

    topic: str
    payload: bytes


class NotMqtt(Exception):
    """The bytes are no packets of a client."""


class Speech:
    """What a client says to a broker, packet by packet.

    Attributes:
        around: bytes that are no payload: headers, topics, acknowledgements, pings.
    """

    def __init__(self) -> None:
        self.around = 0
        self._modern = True
        self._topics: dict[int, str] = {}
        """Topic alias → topic."""

    def take(self, whole: bytearray) -> Iterator[Said]:
        """Every payload of the whole packets at the front of `whole`, which are taken away.

        Raises:
            NotMqtt: what is there was never a packet.
        """
        while (found := _packet(whole)) is not None:
            first, start, end = found
            said = self._of(first, bytes(whole[start:end]))
            self.around += end - (len(said.payload) if said else 0)
            del whole[:end]
            if said is not None:
                yield said

    def _of(self, first: int, body: bytes) -> Said | None:
        try:
            if first >> 4 == CONNECT:
                return self._will(body)
            if first >> 4 != PUBLISH:
                return None
            topic, at = _text(body, 0)
            at += 2 if first & 0x06 else 0
            end = self._past_properties(body, at)
            if self._modern and (number := _alias(body, _number(body, at)[1], end)):
                topic = self._topics.setdefault(number, topic)
            return Said(topic, body[end:])
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise NotMqtt(str(error)) from error

    def _will(self, body: bytes) -> Said | None:
        """The last will in a CONNECT; None: it has none."""
        _, at = _text(body, 0)
        self._modern, flags = body[at] >= 5, body[at + 1]
        _, at = _text(body, self._past_properties(body, at + 4))
        if not flags & WILL:
            return None
        topic, at = _text(body, self._past_properties(body, at))
        length = struct.unpack_from("!H", body, at)[0]
        return Said(topic, body[at + 2 : at + 2 + length])

    def _past_properties(self, body: bytes, at: int) -> int:
        if not self._modern:
            return at
        length, at = _number(body, at)
        return at + length


def _packet(whole: bytearray) -> tuple[int, int, int] | None:
    """(first byte, start of the body, end) of the packet in front; None: it is not all there.

    Raises:
        NotMqtt: it is none.
    """
    if len(whole) < 2:
        return None
    if not 1 <= whole[0] >> 4 <= 15:
        raise NotMqtt(f"a packet of kind {whole[0] >> 4}")
    try:
        length, start = _number(whole, 1)
    except IndexError:
        return None
    return (whole[0], start, start + length) if start + length <= len(whole) else None


def _alias(body: bytes, at: int, end: int) -> int:
    """The topic alias among a PUBLISH's properties (MQTT 5, section 2.2.2.2); 0: there is none."""
    while at < end:
        kind, at = body[at], at + 1
        if kind == ALIAS:
            return int(struct.unpack_from("!H", body, at)[0])
        if kind in FIXED:
            at += FIXED[kind]
        elif kind == VARIABLE:
            _, at = _number(body, at)
        else:
            for _ in range(2 if kind == PAIR else 1):
                at += 2 + int(struct.unpack_from("!H", body, at)[0])
    return 0


def _number(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """A variable byte integer (MQTT 5, section 1.5.5), and where it ends.

    Raises:
        IndexError: it goes on past the data.
        NotMqtt: it is longer than four bytes.
    """
    value = 0
    for place in range(4):
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise NotMqtt("a length of more than four bytes")


def _text(data: bytes, at: int) -> tuple[str, int]:
    length = struct.unpack_from("!H", data, at)[0]
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length
