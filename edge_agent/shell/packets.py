"""The packets that an event costs, to the byte: PUBLISH in, PUBLISH and PUBACK out. Source: MQTT 5, sections 3.3, 3.4.

Reading is strict on purpose: whatever is not plainly right is left to paho (`None`), which names what is wrong.
"""

from collections.abc import Callable

from msgspec import Struct

PUBLISH, PUBACK = 0x30, 0x40
DUP, RETAIN = 0x08, 0x01
USER_PROPERTY = 0x26
"""The one property that may come more than once."""
_FORBIDDEN = ("\x00", "\ufeff")
"""What paho takes in no text."""


class Publish(Struct):
    """A message that came."""

    mid: int
    """Packet identifier; 0 at QoS 0."""
    name: bytes
    """The topic as it came; empty where only its alias was sent."""
    payload: bytes
    qos: int
    dup: bool
    retain: bool
    alias: int = 0
    """Number of the topic; 0: none was sent."""
    content_type: str = ""
    response_topic: str = ""
    correlation: bytes = b""
    user: tuple[tuple[str, str], ...] = ()
    """User properties in the order in which they came."""


def read_publish(header: int, packet: bytes, start: int, stop: int, *, modern: bool) -> Publish | None:
    """A PUBLISH of QoS 0 or 1; None: not plainly one.

    Args:
        header: its first byte.
        packet: bytes that hold it.
        start: where its variable header begins.
        stop: where its payload ends.
        modern: whether it is of MQTT 5, else of 3.1.1.
    """
    qos = header >> 1 & 3
    if qos > 1 or stop - start < 2:
        return None
    topic_at = start + 2
    at = topic_at + (packet[start] << 8 | packet[start + 1])
    rest = at + 2 * qos + modern
    if rest > stop or (at == topic_at and not modern):
        return None
    found = Publish(
        packet[at] << 8 | packet[at + 1] if qos else 0,
        packet[topic_at:at],
        b"",
        qos,
        bool(header & DUP),
        bool(header & RETAIN),
    )
    if modern and (length := packet[rest - 1]):
        if length > 0x7F:
            if rest == stop or packet[rest] > 0x7F:
                return None
            length = length & 0x7F | packet[rest] << 7
            rest += 1
        if rest + length > stop or not _take_properties(found, packet[rest : rest + length]):
            return None
        rest += length
    found.payload = packet[rest:stop]
    return found


def _take_properties(found: Publish, packed: bytes) -> bool:
    """Read a message's properties into it; False: leave them to paho."""
    at, end, seen = 0, len(packed), set()
    try:
        while at < end:
            kind, at = packed[at], at + 1
            if kind in seen and kind != USER_PROPERTY:
                return False
            seen.add(kind)
            at = _PROPERTIES[kind](found, packed, at)
    except (IndexError, KeyError, ValueError):
        return False
    return at == end


def _take_alias(found: Publish, packed: bytes, at: int) -> int:
    found.alias = packed[at] << 8 | packed[at + 1]
    if not found.alias:
        raise ValueError("no topic has the number 0")
    return at + 2


def _take_content_type(found: Publish, packed: bytes, at: int) -> int:
    found.content_type, at = _text(packed, at)
    return at


def _take_response_topic(found: Publish, packed: bytes, at: int) -> int:
    found.response_topic, at = _text(packed, at)
    return at


def _take_correlation(found: Publish, packed: bytes, at: int) -> int:
    found.correlation, at = _binary(packed, at)
    return at


def _take_user_property(found: Publish, packed: bytes, at: int) -> int:
    name, at = _text(packed, at)
    value, at = _text(packed, at)
    found.user += ((name, value),)
    return at


def _skip_expiry(_found: Publish, _packed: bytes, at: int) -> int:
    return at + 4


def _skip_format(_found: Publish, packed: bytes, at: int) -> int:
    if packed[at] > 1:
        raise ValueError("a format that MQTT 5 does not know")
    return at + 1


_PROPERTIES: dict[int, Callable[[Publish, bytes, int], int]] = {
    0x01: _skip_format,
    0x02: _skip_expiry,
    0x03: _take_content_type,
    0x08: _take_response_topic,
    0x09: _take_correlation,
    0x23: _take_alias,
    USER_PROPERTY: _take_user_property,
}
"""By identifier (MQTT 5, section 2.2.2.2): what is at `at` goes into the message; returns where the next begins."""


def _binary(packed: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + (packed[at] << 8 | packed[at + 1])
    if end > len(packed):
        raise ValueError("it ends before its text")
    return packed[at + 2 : end], end


def _text(packed: bytes, at: int) -> tuple[str, int]:
    raw, end = _binary(packed, at)
    text = raw.decode()
    if any(char in text for char in _FORBIDDEN):
        raise ValueError("no text of MQTT")
    return text, end


def publish(topic: bytes, payload: bytes, properties: bytes, mid: int, qos: int, *, retain: bool) -> bytes:
    """A PUBLISH of QoS 0 or 1.

    Args:
        properties: with their length before them; empty under MQTT 3.1.1.
        mid: packet identifier, which only QoS 1 has.
    """
    number = mid.to_bytes(2, "big") if qos else b""
    rest = 2 + len(topic) + len(number) + len(properties) + len(payload)
    first = bytes((PUBLISH | qos << 1 | retain,))
    return b"".join((first, _length(rest), len(topic).to_bytes(2, "big"), topic, number, properties, payload))


def puback(mid: int) -> bytes:
    """A PUBACK that says that all is well."""
    return b"\x40\x02" + mid.to_bytes(2, "big")


def _length(value: int) -> bytes:
    """MQTT 5, section 1.5.5."""
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
