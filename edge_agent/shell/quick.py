"""paho's client, with a short way for the two packets that an event costs: a plain PUBLISH in, a plain PUBACK in.

For each of them paho makes tables of properties and reasons that a plain packet does not have, takes four locks that
guard against threads which we do not have, and looks through callbacks that are not set. Everything else, and every
packet that says more, goes paho's own way. These are methods of paho's own, so a paho whose methods are called
otherwise is left alone (docs/adr/0014); `tests/edge_agent/shell/test_quick.py` and the conformance suite are the
contract.
"""

from typing import Any, Literal

from msgspec import Struct
from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

QOS_1 = 0x02
QOS, DUP, RETAIN = 0x06, 0x08, 0x01
NEEDED = ("_handle_publish", "_handle_pubackcomp")
_TAKEN = ReasonCode(PacketTypes.PUBACK)
_DONE = MQTTErrorCode.MQTT_ERR_SUCCESS


class Plain(Struct):
    """A message without properties; what we read of paho's `MQTTMessage`."""

    mid: int
    name: bytes
    payload: bytes
    dup: bool
    retain: bool
    qos: int = 1
    properties: None = None

    @property
    def topic(self) -> str:
        """May raise UnicodeDecodeError, as paho's does."""
        return self.name.decode("utf-8")


class QuickClient(Client):
    """Driven by one thread, with manual acknowledgements and both callbacks of messages set."""

    def _handle_publish(self) -> MQTTErrorCode:
        header, packet = self._in_packet["command"], self._in_packet["packet"]
        if header & QOS != QOS_1 or self._protocol != MQTTProtocolVersion.MQTTv5 or len(packet) < 5:
            return super()._handle_publish()
        end = 2 + (packet[0] << 8 | packet[1])
        # Two bytes of the packet's number, then the length of the properties: none.
        if len(packet) <= end + 2 or packet[end + 2] != 0:
            return super()._handle_publish()
        message = Plain(
            packet[end] << 8 | packet[end + 1],
            bytes(packet[2:end]),
            bytes(packet[end + 3 :]),
            bool(header & DUP),
            bool(header & RETAIN),
        )
        on_message: Any = self.on_message
        on_message(self, None, message)
        return _DONE

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        if cmd != "PUBACK" or len(packet) != 2:
            return super()._handle_pubackcomp(cmd)
        mid = packet[0] << 8 | packet[1]
        if self._out_messages.pop(mid, None) is not None:
            self._inflight_messages -= 1
            on_publish: Any = self.on_publish
            on_publish(self, None, mid, _TAKEN, None)
        return _DONE


def quick() -> type[Client]:
    """The client to use: paho's own where it is another paho than the ones that this was written for."""
    return QuickClient if all(name in vars(Client) for name in NEEDED) else Client
