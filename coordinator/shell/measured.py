"""What devices tell of outcomes: retained on the broker, or in a file."""

import time
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from coordinator.errors import AttributionRefused, NotRunning
from firmware_configs.measured import Measured
from firmware_configs.messages import ROOT

REPORTS_MAX = 1_000_000


def from_file(path: Path) -> list[Measured]:
    """Reports, one JSON object a line.

    Raises:
        AttributionRefused: it cannot be read, or a line is no report (with its number).
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise AttributionRefused(f"{path}: {error.strerror}", hint="name a file of JSON lines") from None
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line, type=Measured))
            except msgspec.MsgspecError as error:
                raise AttributionRefused(f"{path}:{number}: {error}", hint="see messages.schema.json") from None
    return found


def from_broker(broker: str, enrolled: Collection[str], wait_s: float) -> list[Measured]:
    """The retained reports of enrolled devices.

    Args:
        broker: `mqtt://host:port`.
        enrolled: names of devices; others are not listened to.
        wait_s: seconds without another report after which all have come.
    Raises:
        NotRunning: the broker does not answer.
    """
    where = urlsplit(broker)
    found: list[Measured] = []
    newest = [time.monotonic()]

    def take(_client: Client, _data: object, message: MQTTMessage) -> None:
        newest[0] = time.monotonic()
        device = message.topic.split("/")[-2]
        try:
            word = msgspec.msgpack.decode(message.payload, type=Measured)
        except msgspec.MsgspecError:
            return  # anyone may publish there; what is no report tells nothing
        if device in enrolled and word.device == device and len(found) < REPORTS_MAX:
            found.append(word)

    name = f"edge-coordinator-{uuid4().hex[:8]}"
    client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = take
    client.on_connect = lambda one, *_: one.subscribe(f"{ROOT}/+/metric", qos=1)
    try:
        client.connect(where.hostname or "127.0.0.1", where.port or 1883)
    except OSError as error:
        raise NotRunning(f"no broker at {broker}: {error}", hint="start one: edge-coordinator up") from error
    client.loop_start()
    while time.monotonic() < newest[0] + wait_s:
        time.sleep(0.05)
    client.disconnect()
    client.loop_stop()
    return found
