"""What a broker grants for one connection, as its CONNACK says it; under MQTT 3.1.1 it says nothing."""

from typing import Any

from msgspec import Struct
from paho.mqtt.properties import Properties

from edge_agent.shell.client import V5
from firmware_configs.topics import SHARE


class Terms(Struct, frozen=True, kw_only=True):
    """One connection's limits. Source: MQTT 5, section 3.2.2.3."""

    modern: bool = True
    """MQTT 5: properties, reasons, options."""
    receive_maximum: int = 65_535
    packet_bytes_max: int = 0
    """0: no limit was told."""
    qos_max: int = 2
    retain: bool = True
    wildcards: bool = True
    shared: bool = True
    aliases: int = 0
    """How many of our topics the broker remembers a number for."""
    session_s: int | None = None
    """How long it keeps our session, where that is not what we asked for."""

    def forbid(self, topic_filter: str) -> str:
        """Why it would not take this subscription; empty when it would."""
        if not self.shared and topic_filter.startswith(f"{SHARE}/"):
            return "it has no shared subscriptions"
        if not self.wildcards and ("+" in topic_filter or "#" in topic_filter):
            return "it has no wildcards"
        return ""

    def too_large(self, topic: str, carried_bytes: int, payload_bytes: int) -> bool:
        """Whether a message of QoS 1 is over its limit."""
        if not self.packet_bytes_max:
            return False
        rest = 4 + len(topic.encode()) + carried_bytes + payload_bytes
        length_bytes = 1 + (rest > 127) + (rest > 16_383) + (rest > 2_097_151)
        return 1 + length_bytes + rest > self.packet_bytes_max


def terms(version: int, told: Properties | None) -> Terms:
    """Read the CONNACK's properties."""
    if version != V5:
        return Terms(modern=False)
    said: dict[str, Any] = vars(told) if told is not None else {}
    return Terms(
        receive_maximum=said.get("ReceiveMaximum", 65_535) or 65_535,
        packet_bytes_max=said.get("MaximumPacketSize", 0),
        qos_max=said.get("MaximumQoS", 2),
        retain=bool(said.get("RetainAvailable", 1)),
        wildcards=bool(said.get("WildcardSubscriptionAvailable", 1)),
        shared=bool(said.get("SharedSubscriptionAvailable", 1)),
        aliases=said.get("TopicAliasMaximum", 0),
        session_s=said.get("SessionExpiryInterval"),
    )
