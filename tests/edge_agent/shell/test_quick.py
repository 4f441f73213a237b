"""The short way for plain packets says what paho's own way says, or leaves the packet to it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_agent.shell.quick import QuickClient, quick

PUBLISH = 0x30
PLAIN = st.builds(
    lambda topic, mid, properties, payload: (
        len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + properties + payload
    ),
    st.binary(max_size=30),
    st.integers(0, 65_535),
    st.sampled_from([b"\x00", b"\x02\x01\x01", b"\x05\x02\x00\x00\x00\x09"]),
    st.binary(max_size=60),
)


def heard(kind: type[Client], header: int, packet: bytes) -> list[Any]:
    """What a client makes of a PUBLISH: its messages, or the kind of its refusal."""
    found: list[Any] = []
    client = kind(CallbackAPIVersion.VERSION2, "c", protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    client.on_message = lambda _c, _d, m: found.append((topic_of(m), bytes(m.payload), m.mid, m.qos, m.dup, m.retain))
    client._in_packet["command"], client._in_packet["packet"] = header, bytearray(packet)
    try:
        client._handle_publish()
    except Exception as error:  # noqa: BLE001 - which one is the point
        found.append(type(error))
    return found


def topic_of(message: Any) -> str | None:
    try:
        return str(message.topic)
    except UnicodeDecodeError:
        return None


@given(st.integers(0, 15).filter(lambda flags: flags & 0x06 != 0x04), PLAIN | st.binary(max_size=40))
def test_any_publish_is_heard_as_paho_hears_it(flags: int, packet: bytes) -> None:
    assert heard(QuickClient, PUBLISH | flags, packet) == heard(Client, PUBLISH | flags, packet)


def test_this_paho_is_one_that_the_short_way_was_written_for() -> None:
    assert quick() is QuickClient
