"""A paho client for one connection: who we are to the broker, over which transport, in which version of MQTT.

Each connection gets a new one. Nothing of a broken connection is left over, what was in flight is taken from the
outbox again, and certificates and passwords that were renewed on disk are used from the next connection on.
"""

from pathlib import Path
from typing import Any

from msgspec import Struct
from paho.mqtt import client as paho_client
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.errors import SettingsMalformed
from edge_agent.settings import Broker
from edge_agent.shell import properties
from edge_agent.shell.quick import PahoClient, quick

PACKET_BYTES_MAX = 1_048_576
"""Larger messages are the broker's to drop; what is above the agent's own limit is rejected by name."""
DIAL_S = 5.0
V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311


_Frames: Any = getattr(paho_client, "_WebsocketWrapper", None)
_create_frame: Any = getattr(_Frames, "_create_frame", None)


def mask_frames() -> None:
    """Let paho mask its answers to pings, too, as RFC 6455, section 5.1, demands of a client.

    It answers unmasked (paho 2.2.0), and servers that keep to the standard then close the connection: those on Python's
    websockets ping every 20 s. A paho that makes frames in another way is left alone.
    """
    if _create_frame is not None:
        _Frames._create_frame = lambda self, opcode, data, _masked=1: _create_frame(self, opcode, data, 1)  # noqa: SLF001


class Will(Struct, frozen=True, kw_only=True):
    """What the broker says for us when we are gone."""

    topic: str
    payload: bytes
    content_type: str


def make(broker: Broker, device: str, will: Will | None, version: MQTTProtocolVersion) -> PahoClient:
    """A client that has not dialled; its session at the broker outlives it.

    Raises:
        SettingsMalformed: a certificate, key or password file cannot be used.
    """
    client = bare(broker, f"edgeward-{device}", version, keep=True, kind=quick())
    modern = version == V5
    # No limit: the window is ours to keep, and with one paho looks through all that is on its way at each PUBACK.
    client.max_inflight_messages = 0
    # With this set, paho leaves writing to us: many packets, one visit.
    client.on_socket_register_write = lambda *_: None
    if will is not None:
        own_will = Properties(PacketTypes.WILLMESSAGE)
        own_will.ContentType = will.content_type
        client.will_set(will.topic, will.payload, qos=1, retain=True, properties=own_will if modern else None)
    if modern:
        asked = properties.of_connect(broker.session_expiry_s, broker.receive_maximum, PACKET_BYTES_MAX)
        client.connect_async(broker.host, broker.port, broker.keepalive_s, clean_start=False, properties=asked)
    else:
        client.connect_async(broker.host, broker.port, broker.keepalive_s)
    return client


def bare(
    broker: Broker, name: str, version: MQTTProtocolVersion, *, keep: bool, kind: type[PahoClient] = PahoClient
) -> PahoClient:
    """A client that knows the way in, and no more.

    Args:
        name: its client id.
        keep: whether the broker shall keep its session; under MQTT 5 that is asked for when it connects.
    Raises:
        SettingsMalformed: a certificate, key or password file cannot be used.
    """
    properties.share_tables()
    client = kind(
        CallbackAPIVersion.VERSION2,
        name,
        clean_session=None if version == V5 else not keep,
        protocol=version,
        transport="websockets" if broker.websockets else "tcp",
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.connect_timeout = DIAL_S
    if broker.websockets:
        mask_frames()
        client.ws_set_options(path=broker.path)
    _identify(client, broker)
    return client


def _identify(client: Client, broker: Broker) -> None:
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
            # An empty passphrase fails where none would ask for it on the terminal.
            client.tls_set(broker.ca or None, broker.cert or None, broker.key or None, keyfile_password="")
        except (OSError, ValueError) as error:
            raise SettingsMalformed(
                f"broker: ca, cert or key cannot be used: {error}",
                hint="give PEM files that belong together, and a key without passphrase",
            ) from error
