"""A record of what arrives at the broker: sizes and hashes, never payloads; to compare with the ledgers."""

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.subscribeoptions import SubscribeOptions

from coordinator.shell.line import dial, hang_up
from firmware_configs.messages import ROOT

NOT_ITS_OWN = frozenset({"desired", "request", "feedback", "consent"})
"""What others publish under a device's topics."""


def listen(broker: str, home: Path, out: Path, devices: list[str], done: Callable[[], bool], topics: list[str]) -> int:
    """Write a line for each message that devices publish, until `done` says so; returns how many.

    Args:
        broker: `mqtt://host:port`, or `mqtts://host:port` with the certificate in `home/keys`.
        devices: only these; empty: all.
        topics: further topic filters, such as of actuators. A broker that does not let us read one may not say so.
    Raises:
        NotRunning: no broker answers.
    """
    count, lock = 0, threading.Lock()
    # What was retained before is not arriving now; Retain Handling 2 leaves it out.
    options = SubscribeOptions(qos=1, retainHandling=2, retainAsPublished=False)
    filters = [(topic, options) for topic in (f"{ROOT}/#", *topics)]
    with out.open("ab") as file:

        def take(_client: Client, _data: object, message: MQTTMessage) -> None:
            nonlocal count
            if message.retain or not _is_a_device_s(message.topic, devices):
                return
            line = {
                "sha256": hashlib.sha256(message.payload).hexdigest(),
                "bytes": len(message.payload),
                "destination": "mqtt",
                "topic": message.topic,
                "time_ms": int(time.time() * 1_000),
            }
            with lock:
                file.write(msgspec.json.encode(line) + b"\n")
                file.flush()
                count += 1

        def prepare(client: Client) -> None:
            client.on_message = take
            client.on_connect = lambda own, *_: own.subscribe(filters)

        client = dial(broker, home, prepare)
        try:
            while not done():
                time.sleep(0.05)
        finally:
            hang_up(client)
    return count


def _is_a_device_s(topic: str, devices: list[str]) -> bool:
    parts = topic.split("/")
    if not topic.startswith(f"{ROOT}/"):
        return True
    own = parts[2:]
    return len(own) > 1 and own[1] not in NOT_ITS_OWN and (not devices or own[0] in devices)
