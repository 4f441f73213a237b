"""The embedded broker serves clients of both versions at one port, each as if all spoke its own."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from coordinator.shell import broker
from coordinator.shell.mqtt_door import Malformed, downwards, packed, upwards
from coordinator.shell.up import _mqtt_door_command

V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
WAIT_S = 20.0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    inner, outer = broker.free_port(), broker.free_port()
    running = broker.start(tmp_path_factory.mktemp("broker"), "127.0.0.1", inner)
    door = subprocess.Popen([sys.executable, *_mqtt_door_command("127.0.0.1", outer, inner)[1:]])
    try:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", outer)) == 0)
        yield outer
    finally:
        door.terminate()
        assert door.wait(10) == 0
        running.stop()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Person:
    """A client of one version, and all that it heard."""

    def __init__(self, port: int, version: MQTTProtocolVersion, name: str, *, clean: bool = True, **will: Any) -> None:
        more = {} if version == V5 else {"clean_session": clean}
        self.heard: list[MQTTMessage] = []
        self.codes: list[int] = []
        self.present = False
        self._ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, name, protocol=version, **more)
        self.client.on_message = lambda _c, _d, message: self.heard.append(message)
        self.client.on_subscribe = lambda _c, _d, _m, codes, _p: self.codes.extend(code.value for code in codes)
        self.client.on_connect = self._connected
        if will:
            self.client.will_set(**will)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(WAIT_S)

    def _connected(self, _client: Client, _data: Any, flags: Any, code: Any, _properties: Any) -> None:
        assert not code.is_failure
        self.present = flags.session_present
        self._ready.set()

    def listen(self, topic: str, qos: int = 1) -> None:
        self.client.subscribe(topic, qos)
        until(lambda: bool(self.codes))

    def say(self, topic: str, payload: bytes, qos: int = 1, **more: Any) -> None:
        self.client.publish(topic, payload, qos, **more).wait_for_publish(WAIT_S)

    def go(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(("speaker", "listener"), [(V311, V5), (V5, V311), (V311, V311), (V5, V5)])
def test_what_one_says_the_other_hears(
    port: int, speaker: MQTTProtocolVersion, listener: MQTTProtocolVersion, qos: int
) -> None:
    topic = f"room/{speaker}-{listener}-{qos}"
    hears, says = Person(port, listener, f"hears-{topic[5:]}"), Person(port, speaker, f"says-{topic[5:]}")
    hears.listen(topic, qos)
    properties = None
    if speaker == V5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType, properties.UserProperty = "application/json", ("traceparent", "00-1")
    for n in range(20):
        says.say(topic, b"x" * (n * 700), qos, properties=properties)
    until(lambda: len(hears.heard) == 20)
    assert [(one.topic, len(one.payload), one.qos) for one in hears.heard] == [(topic, n * 700, qos) for n in range(20)]
    if speaker == listener == V5:
        assert hears.heard[0].properties.ContentType == "application/json"  # type: ignore[union-attr]
    hears.client.unsubscribe(topic)
    hears.go()
    says.go()


def test_an_older_client_has_a_session_that_outlives_its_line_a_retained_message_and_a_last_will(port: int) -> None:
    keeps = Person(port, V311, "keeps", clean=False)
    keeps.listen("kept/#")
    keeps.go()
    says = Person(port, V311, "says", topic="kept/will", payload=b"gone", qos=1)
    says.say("kept/one", b"while away")
    says.say("kept/state", b"on", retain=True)
    says.client._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
    says.client.loop_stop()
    again = Person(port, V311, "keeps", clean=False)
    assert again.present
    until(lambda: len(again.heard) >= 3)
    assert {(one.topic, bytes(one.payload)) for one in again.heard} == {
        ("kept/one", b"while away"),
        ("kept/state", b"on"),
        ("kept/will", b"gone"),
    }
    new = Person(port, V311, "new")
    new.listen("kept/state")
    until(lambda: bool(new.heard))
    assert (new.heard[0].payload, new.heard[0].retain) == (b"on", True)
    again.go()
    new.go()


def test_who_speaks_neither_is_told_so(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as line:
        line.sendall(packed(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01x"))
        assert line.recv(100) == bytes([0x20, 2, 0, 1]), "a CONNACK: unacceptable protocol version"
        assert line.recv(100) == b""


def test_an_older_client_that_keeps_nothing_alive_is_served(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as line:
        line.sendall(packed(0x10, b"\x00\x04MQTT\x04\x02\x00\x00\x00\x05quiet"))
        assert line.recv(100) == bytes([0x20, 2, 0, 0])


def body_of(packet: bytes) -> bytes:
    at = 1
    while packet[at] & 0x80:
        at += 1
    return packet[at + 1 :]


@settings(max_examples=200)
@given(
    first=st.sampled_from([0x30, 0x32, 0x34, 0x3D, 0x31]),
    topic=st.text(max_size=40).map(str.encode),
    payload=st.binary(max_size=300),
)
def test_a_message_up_and_down_again_is_the_message(first: int, topic: bytes, payload: bytes) -> None:
    number = b"\x00\x07" if first & 0x06 else b""
    body = len(topic).to_bytes(2) + topic + number + payload
    up = upwards(first, body)
    assert len(body_of(up)) == len(body) + 1
    assert downwards(first, body_of(up)) == packed(first, body)


@settings(max_examples=500)
@given(first=st.integers(0, 255), body=st.binary(max_size=60))
def test_any_bytes_are_turned_or_called_malformed(first: int, body: bytes) -> None:
    for turn in (upwards, downwards):
        try:
            turned = turn(first, body)
        except Malformed:
            continue
        assert turned is None or turned[0] == first


def test_a_refusal_of_the_broker_is_a_return_code() -> None:
    assert downwards(0x20, b"\x01\x87\x00") == bytes([0x20, 2, 0, 5])
    assert downwards(0x20, b"\x01\x00\x03\x21\x00\x0a") == bytes([0x20, 2, 1, 0])
    assert downwards(0x90, b"\x00\x07\x00\x01\x87") == bytes([0x90, 4, 0, 7, 1, 0x80])
    assert downwards(0x40, b"\x00\x07\x10\x00") == bytes([0x40, 2, 0, 7])
    assert downwards(0xB0, b"\x00\x07\x00\x00") == bytes([0xB0, 2, 0, 7])
    assert downwards(0xE0, b"\x8e") is None
