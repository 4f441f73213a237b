"""MQTT 5 properties: what we pack is what paho reads, with shared tables as without."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.shell import properties

# U+FEFF may stand in a string (MQTT 5, section 1.5.4), but paho, by which we read here, refuses it.
LETTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn", "Co"], exclude_characters="\ufeff")
TEXT = st.text(LETTERS, max_size=40)


@given(TEXT, st.binary(max_size=140), TEXT, st.integers(0, 2**32 - 1))
def test_what_is_packed_is_read_back(content_type: str, correlation: bytes, traceparent: str, expiry_s: int) -> None:
    properties.share_tables()
    packed = properties.of_publish(content_type, correlation, traceparent, expiry_s)
    read = Properties(PacketTypes.PUBLISH)
    read.unpack(packed)
    told = vars(read)
    assert told.get("ContentType", "") == content_type
    assert told.get("CorrelationData", b"") == correlation
    assert dict(told.get("UserProperty", [])).get("traceparent", "") == traceparent
    assert told.get("MessageExpiryInterval", 0) == expiry_s


def test_shared_tables_are_pahos_own_and_one_message_never_shows_in_another() -> None:
    script = """
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
plain = Properties(PacketTypes.PUBLISH)
plain.ContentType = "a"
from edge_agent.shell import properties
properties.share_tables()
shared, other = Properties(PacketTypes.PUBLISH), Properties(PacketTypes.PUBACK)
shared.ContentType = "a"
assert vars(shared) == vars(plain), (vars(shared), vars(plain))
assert shared.pack() == plain.pack()
assert not hasattr(other, "ContentType") and other.packetType == PacketTypes.PUBACK
"""
    subprocess.run([sys.executable, "-c", script], check=True)
