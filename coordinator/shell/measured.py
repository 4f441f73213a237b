"""What devices tell of outcomes: retained on the broker, or in a file."""

import time
from collections.abc import Collection
from pathlib import Path

import msgspec
from paho.mqtt.client import Client, MQTTMessage

from coordinator.errors import AttributionRefused
from coordinator.shell.line import dial, hang_up
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


def from_broker(broker: str, enrolled: Collection[str], wait_s: float, home: Path = Path()) -> list[Measured]:
    """The retained reports of enrolled devices.

    Args:
        broker: `mqtt://host:port`, `mqtts://host:port`.
        enrolled: names of devices; others are not listened to.
        home: where our certificate for `mqtts://` is.
        wait_s: seconds without another report after which all have come.
    Raises:
        NotRunning: the broker does not answer.
    """
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

    def prepare(client: Client) -> None:
        client.on_message = take
        client.on_connect = lambda one, *_: one.subscribe(f"{ROOT}/+/metric", qos=1)

    client = dial(broker, home, prepare)
    newest[0] = time.monotonic()
    while time.monotonic() < newest[0] + wait_s:
        time.sleep(0.05)
    hang_up(client)
    return found
