"""The rollout's connection to the broker: what devices report, whether they are there, and what is wanted of them."""

import queue
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import msgspec
from msgspec import Struct
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from coordinator.errors import NotRunning
from coordinator.shell.line import dial, hang_up
from firmware_configs.messages import MSGPACK, ROOT, Desired, Reported, Topics

UNDER_WAY_MAX = 200
PUBLISH_S = 30.0
BATCH = 4_000
"""Messages taken in by one step at most."""


class Said(Struct, frozen=True, kw_only=True, gc=False):
    """One message of a device: its report, or whether it is online."""

    device: str
    reported: Reported | None = None
    online: bool | None = None
    fresh: bool = True


class Line(Protocol):
    """What the loop needs of a broker."""

    @property
    def up(self) -> bool:
        """Whether there is a connection now."""

    def hear(self, seconds: float) -> list[Said]:
        """What came; waits for it for so long at most."""

    def publish(self, wanted: Sequence[tuple[str, Desired]]) -> None:
        """Publish desired states, retained; returns when the broker has them.

        Raises:
            NotRunning: it did not take them.
        """


class _Online(Struct, frozen=True):
    """The one part of a status that is needed here."""

    online: bool


_reported = msgspec.msgpack.Decoder(Reported).decode
_online = msgspec.msgpack.Decoder(_Online).decode


class BrokerLine:
    """`Line` over MQTT 5. Use as a context manager."""

    def __init__(self, broker: str, home: Path) -> None:
        """Args:
        broker: `mqtt://host:port`, or `mqtts://host:port` with the certificates in `home`.
        """
        self._broker, self._home = broker, home
        self._came: queue.SimpleQueue[Said] = queue.SimpleQueue()
        self._known: set[str] = set()

    def __enter__(self) -> Self:
        def prepare(client: Client) -> None:
            client.max_inflight_messages_set(UNDER_WAY_MAX)
            client.on_message = self._on_message
            client.on_connect = self._on_connect

        self._client = dial(self._broker, self._home, prepare)
        return self

    def __exit__(self, *_exc: object) -> None:
        hang_up(self._client)

    def _on_connect(self, client: Client, *_: object) -> None:
        self._known.clear()
        client.subscribe([(f"{ROOT}/+/reported", 1), (f"{ROOT}/+/status", 1)])

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        *_, device, what = message.topic.split("/")
        # Some brokers leave the mark on what they forward at once: only the first of a topic can be an old one.
        fresh = not message.retain or message.topic in self._known
        self._known.add(message.topic)
        try:
            if what == "reported":
                self._came.put(Said(device=device, reported=_reported(message.payload), fresh=fresh))
            else:
                self._came.put(Said(device=device, online=_online(message.payload).online, fresh=fresh))
        except msgspec.MsgspecError:
            return  # anyone may publish there; what is no report tells nothing

    @property
    def up(self) -> bool:
        return self._client.is_connected()

    def hear(self, seconds: float) -> list[Said]:
        found: list[Said] = []
        deadline = time.monotonic() + seconds
        while len(found) < BATCH:
            try:
                found.append(self._came.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
            deadline = min(deadline, time.monotonic() + seconds / 20)  # the rest of a burst, and no more
        return found

    def publish(self, wanted: Sequence[tuple[str, Desired]]) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = MSGPACK
        sent = [
            self._client.publish(
                Topics(device).of("desired"),
                msgspec.msgpack.encode(desired),
                qos=1,
                retain=True,
                properties=properties,
            )
            for device, desired in wanted
        ]
        deadline = time.monotonic() + PUBLISH_S
        for one in sent:
            try:
                one.wait_for_publish(max(0.1, deadline - time.monotonic()))
            except (RuntimeError, ValueError) as error:
                raise NotRunning(f"the broker did not take `desired`: {error}", hint="check its log") from error
            if not one.is_published():
                raise NotRunning("the broker did not take `desired` in time", hint="check its log")
