"""Desired and reported state over MQTT: the coordinator's own connection to the broker."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

import msgspec
from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from coordinator.errors import NotRunning
from coordinator.shell import line
from coordinator.shell.authority import coordinator_id
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.store import Store
from firmware_configs.messages import MSGPACK, ROOT, Desired, Reported, Topics

PUBLISH_S = 10.0
AT_ONCE = 200
"""Devices in one transaction, and messages under way."""


class Control:
    """Tells devices what is wanted and hears what they run. Use as a context manager."""

    def __init__(self, broker: str, store: Store) -> None:
        """Args:
        broker: `mqtt://host:port`, `mqtts://host:port`.
        store: keeps each device's desired state, so that revisions rise for ever.
        """
        self._broker, self._home = broker, store.home
        self._fleet = FleetStore(store.home)
        self._changed = threading.Condition()
        self._reported: dict[str, Reported] = {}

    def __enter__(self) -> Self:
        def prepare(client: Client) -> None:
            client.on_message = self._on_message
            client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/+/reported", qos=1)

        self._client = line.dial(self._broker, self._home, prepare)
        return self

    def __exit__(self, *_exc: object) -> None:
        line.hang_up(self._client)

    def want(
        self,
        devices: Iterable[str],
        change: Callable[[Desired], Desired],
        *,
        if_revision: int | None = None,
        pass_reported: bool = False,
    ) -> dict[str, Desired]:
        """Change what is wanted of devices, and publish it retained with a higher revision.

        Args:
            change: old state → new state; its revision, device and writer are set here.
            if_revision: only if this is the newest revision; None: whatever it is.
            pass_reported: number it above what the device reports, too.
        Returns:
            Device → what is wanted now.
        Raises:
            RevisionConflict: another one has written meanwhile; nothing changed for the devices of its batch.
        """
        by, wanted = coordinator_id(self._home), {}
        for some in _batches(devices):
            new = self._fleet.wish(some, change, by=by, if_revision=if_revision, pass_reported=pass_reported)
            self._publish(new)
            wanted.update(new)
        return wanted

    def repeat(self, devices: Iterable[str]) -> None:
        """Publish what is wanted of devices once more, unchanged."""
        for some in _batches(devices):
            held = {view.name: view.desired for view in self._fleet.views(some)}
            self._publish({name: desired for name, desired in held.items() if desired.revision})

    def _publish(self, wanted: dict[str, Desired]) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = MSGPACK
        sent: list[MQTTMessageInfo] = []
        for device, desired in wanted.items():
            payload = msgspec.msgpack.encode(desired)
            topic = Topics(device).of("desired")
            sent.append(self._client.publish(topic, payload, qos=1, retain=True, properties=properties))
        deadline = time.monotonic() + PUBLISH_S
        for one in sent:
            try:
                one.wait_for_publish(max(0.01, deadline - time.monotonic()))
            except (RuntimeError, ValueError) as error:
                raise NotRunning(f"the broker did not take `desired`: {error}", hint="check its log") from error
            if not one.is_published():
                raise NotRunning("the broker did not take `desired` in time", hint="check its log")

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


def _batches(devices: Iterable[str]) -> Iterable[list[str]]:
    names = list(devices)
    return [names[n : n + AT_ONCE] for n in range(0, len(names), AT_ONCE)]
