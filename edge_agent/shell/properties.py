"""MQTT 5 properties of what is published, packed once and remembered: most messages carry the same ones."""

from functools import lru_cache

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

REMEMBERED = 1_024
ALIASES = 256
"""Topics that a broker may number for us, so that it need not send their names again."""
_USER_PROPERTY = b"\x26"
"""Its identifier (MQTT 5, section 2.2.2.2); name and value follow, each with its length before it."""
_MORE = 0x80
"""A byte of a variable byte integer that is not the last has this bit (section 1.5.5)."""
_TABLES = {name: value for name, value in vars(Properties(PacketTypes.PUBLISH)).items() if name != "packetType"}


def _with_shared_tables(self: Properties, packetType: int) -> None:  # noqa: N803 - paho's name
    vars(self).update(_TABLES)
    vars(self)["packetType"] = packetType


def share_tables() -> None:
    """Let all of paho's `Properties` share the tables of MQTT 5, section 2.2.2.2, which it makes anew for each.

    It makes one for every packet that comes, 6 µs each; nothing ever changes them.
    A paho whose `Properties` hold anything else is left alone.
    """
    if set(_TABLES) == {"types", "names", "properties"}:
        Properties.__init__ = _with_shared_tables  # type: ignore[method-assign]


class Packed(Properties):
    """Properties that do not change any more."""

    def __init__(self, packed: bytes) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        self.__dict__["packed"] = packed

    def pack(self) -> bytes:
        return bytes(self.__dict__["packed"])


def of_publish(
    content_type: str,
    correlation: bytes,
    traceparent: str,
    expiry_s: int,
    alias: int = 0,
    attributes: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """The properties of one PUBLISH, packed, with their length before them.

    Args:
        content_type: empty: none.
        correlation: echoed from a request; empty: none.
        traceparent: W3C trace context as user property; empty: none.
        expiry_s: seconds that the message is worth delivering; 0: for ever.
        alias: number of its topic at this broker; 0: none.
        attributes: more user properties.
    """
    packed = _of_publish(content_type, correlation, expiry_s, alias)
    pairs = (("traceparent", traceparent), *attributes) if traceparent else attributes
    if not pairs:
        return packed
    # No two decisions have the same ones: paho would pack each anew, 50 µs; so they are put behind what is remembered.
    start = next(n for n, byte in enumerate(packed, 1) if byte < _MORE)
    body = packed[start:] + b"".join(_USER_PROPERTY + _text(name) + _text(value) for name, value in pairs)
    return bytes(VariableByteIntegers.encode(len(body))) + body


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


@lru_cache(maxsize=REMEMBERED)
def _of_publish(content_type: str, correlation: bytes, expiry_s: int, alias: int) -> bytes:
    properties = Properties(PacketTypes.PUBLISH)
    if content_type:
        properties.ContentType = content_type
    if correlation:
        properties.CorrelationData = correlation
    if expiry_s:
        properties.MessageExpiryInterval = expiry_s
    if alias:
        properties.TopicAlias = alias
    return bytes(properties.pack())


def of_connect(session_expiry_s: int, receive_maximum: int, packet_bytes_max: int) -> Properties:
    """What we ask of the broker for the whole session."""
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = session_expiry_s
    properties.ReceiveMaximum = receive_maximum
    properties.MaximumPacketSize = packet_bytes_max
    # No TopicAliasMaximum: rumqttd numbers by subscription, not by topic, so with `…/consent/+` the second
    # person's word came under the name of the first.
    return properties
