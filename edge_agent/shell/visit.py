"""One short visit to the broker, by a command: a message, acknowledged. The agent's own line is not touched."""

import time

from paho.mqtt.client import Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.errors import BrokerRefused
from edge_agent.settings import Settings
from edge_agent.shell import client as clients
from edge_agent.shell import faults
from edge_agent.shell.version import candidates
from firmware_configs.messages import JSON

WAIT_S = 5.0


def publish(settings: Settings, topic: str, payload: bytes) -> None:
    """Publish JSON, retained, under a client id of its own; an empty payload clears what the topic retains.

    Raises:
        BrokerUnreachable, BrokerRefused, SettingsMalformed: it is not published.
    """
    broker = settings.broker
    told: list[object] = []
    client: Client | None = None
    for version in candidates(broker.protocol):
        greeted: list[object] = []
        client = clients.bare(broker, f"edgeward-{settings.device}-command", version, keep=False)
        client.on_connect = lambda _c, _d, _f, reason, _p, greeted=greeted: greeted.append(reason)
        client.on_publish = lambda _c, _d, _mid, reason, _p: told.append(reason)
        try:
            client.connect(broker.host, broker.port)
        except (OSError, ValueError) as error:
            raise faults.unreachable(error, broker) from error
        _until(client, greeted)
        if not greeted:
            raise faults.silent(broker)
        code = greeted[0]
        if not code.is_failure:  # type: ignore[attr-defined]
            break
        if code.value != faults.UNSUPPORTED_VERSION:  # type: ignore[attr-defined]
            raise faults.refused(code, broker)  # type: ignore[arg-type]
    words = None
    if client is None:  # no version was tried
        raise faults.silent(broker)
    if client.protocol == clients.V5:
        words = Properties(PacketTypes.PUBLISH)
        words.ContentType = JSON
    client.publish(topic, payload, qos=1, retain=True, properties=words)
    _until(client, told)
    client.disconnect()
    client.loop(0.1)
    if not told or getattr(told[0], "is_failure", False):
        raise BrokerRefused(
            f"{broker.url} did not take a message for {topic}",
            hint="let this device publish there in the broker's access list, or let the app do it",
        )


def _until(client: Client, heard: list[object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not heard and time.monotonic() < deadline:
        if client.loop(0.1) != 0:
            return
