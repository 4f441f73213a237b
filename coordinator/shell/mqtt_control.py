"""Desired and reported state over MQTT: the coordinator's own connection to the broker."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from coordinator.errors import NotRunning
from coordinator.shell.store import Store
from firmware_configs.messages import MSGPACK, ROOT, Desired, Reported, Topics

CONNECT_S = 10.0
PUBLISH_S = 10.0


class Control:
    """Tells devices what is wanted and hears what they run. Use as a context manager."""

    def __init__(self, broker: str, store: Store) -> None:
        """Args:
        broker: `mqtt://host:port`.
        store: keeps each device's desired state, so that revisions rise for ever.
        """
        where = urlsplit(broker)
        self._where = (where.hostname or "127.0.0.1", where.port or 1883)
        self._store = store
        self._changed = threading.Condition()
        self._reported: dict[str, Reported] = {}
        self._client = Client(
            CallbackAPIVersion.VERSION2, f"edge-coordinator-{uuid4().hex[:8]}", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/+/reported", qos=1)

    def __enter__(self) -> Self:
        try:
            self._client.connect(*self._where)
        except OSError as error:
            host, port = self._where
            raise NotRunning(
                f"no broker at {host}:{port}: {error}", hint="start one: edge-coordinator up, or pass --broker"
            ) from error
        self._client.loop_start()
        deadline = time.monotonic() + CONNECT_S
        while not self._client.is_connected():
            if time.monotonic() > deadline:
                raise NotRunning("the broker does not answer", hint="check its log")
            time.sleep(0.02)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def want(self, devices: Iterable[str], change: Callable[[Desired], Desired]) -> None:
        """Change what is wanted of devices, and publish it retained with a higher revision.

        Args:
            change: old state → new state; its revision is set here.
        """
        for device in devices:
            old = self._store.desired(device)
            new = msgspec.structs.replace(change(old), revision=old.revision + 1)
            self._store.put_desired(device, new)
            self._publish(device, new)

    def repeat(self, devices: Iterable[str]) -> None:
        """Publish what is wanted of devices once more, unchanged."""
        for device in devices:
            desired = self._store.desired(device)
            if desired.revision:
                self._publish(device, desired)

    def _publish(self, device: str, desired: Desired) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = MSGPACK
        payload = msgspec.msgpack.encode(desired)
        sent = self._client.publish(Topics(device).of("desired"), payload, qos=1, retain=True, properties=properties)
        try:
            sent.wait_for_publish(PUBLISH_S)
        except (RuntimeError, ValueError) as error:
            raise NotRunning(f"the broker did not take `desired`: {error}", hint="check its log") from error

    def reported(self) -> dict[str, Reported]:
        """What each device last said."""
        with self._changed:
            return dict(self._reported)

    def wait_for(self, holds: Callable[[dict[str, Reported]], bool], seconds: float) -> bool:
        """Wait until the reports satisfy `holds`; False when the time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: holds(self._reported), seconds)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        try:
            word = msgspec.msgpack.decode(message.payload, type=Reported)
        except msgspec.MsgspecError:
            return  # anyone may publish there; what is no report tells nothing
        with self._changed:
            self._reported[message.topic.split("/")[-2]] = word
            self._changed.notify_all()
