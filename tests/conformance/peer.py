"""Other clients: real ones, on a thread of their own, in either version of MQTT."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from firmware_configs.messages import DecisionMade

VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
SECONDS = 10.0


class Peer:
    """Publishes and hears."""

    def __init__(self, port: int, name: str, version: str = "5", user: str = "", password: str = "") -> None:
        self.heard: list[MQTTMessage] = []
        self._modern = version == "5"
        self._client = Client(CallbackAPIVersion.VERSION2, name, protocol=VERSIONS[version])
        if user:
            self._client.username_pw_set(user, password)
        self._client.on_message = lambda _c, _d, message: self.heard.append(message)
        self._up = threading.Event()
        self._client.on_connect = lambda *_: self._up.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._up.wait(SECONDS), f"{name} was not let in"

    def listen(self, topic: str, qos: int = 1) -> None:
        """Subscribe, and wait for the broker's word."""
        granted = threading.Event()
        self._client.on_subscribe = lambda *_: granted.set()
        self._client.subscribe(topic, qos)
        assert granted.wait(SECONDS), f"no answer to SUBSCRIBE {topic}"

    def say(
        self, topic: str, payload: object, qos: int = 1, *, retain: bool = False, wait: bool = True, **told: Any
    ) -> None:
        """Publish JSON, or bytes as they are; `told` are MQTT 5 properties."""
        properties = None
        if self._modern and told:
            properties = Properties(PacketTypes.PUBLISH)
            for name, value in told.items():
                setattr(properties, name, value)
        body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        info = self._client.publish(topic, body, qos, retain, properties)
        if wait:
            info.wait_for_publish(SECONDS)

    def decisions(self, matches: Callable[[MQTTMessage], bool] = lambda _m: True) -> list[DecisionMade]:
        """What was heard of decisions, in order."""
        return [
            msgspec.msgpack.decode(m.payload, type=DecisionMade)
            for m in list(self.heard)
            if "/decision/" in m.topic and matches(m)
        ]

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()  # paho leaves the pair that wakes its thread to the garbage collector


@contextmanager
def peer(port: int, name: str, version: str = "5", **more: str) -> Iterator[Peer]:
    """A connected client, gone at the end."""
    one = Peer(port, name, version, **more)
    try:
        yield one
    finally:
        one.close()
