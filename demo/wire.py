"""The demo's own MQTT client: plays the sensors and the apps, and listens to every home."""

import queue
import socket
import threading
import time
from urllib.parse import urlsplit

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from firmware_configs.messages import (
    JSON,
    MSGPACK,
    ROOT,
    Consent,
    DecisionMade,
    Feedback,
    Reported,
    Request,
    Topics,
)

REPLIES = "demo/reply"


def acknowledge_bytes(opened: object) -> None:
    """Ask the kernel to acknowledge now: a broker with Nagle's algorithm waits for it, up to 40 ms."""
    if isinstance(opened, socket.socket) and hasattr(socket, "TCP_QUICKACK"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class Wire:
    """Publishes events, feedback, consent and requests; collects decisions, replies and reports.

    `decisions` is a queue filled by the network thread; the rest is guarded by `_lock`.
    """

    def __init__(self, broker: str) -> None:
        where = urlsplit(broker)
        self.decisions: queue.SimpleQueue[tuple[DecisionMade, str, float]] = queue.SimpleQueue()
        self.latencies_ms: list[float] = []
        self._lock = threading.Lock()
        self._sent: dict[str, float] = {}
        self._reported: dict[str, Reported] = {}
        self._replies: dict[bytes, DecisionMade] = {}
        self._client = Client(CallbackAPIVersion.VERSION2, "demo", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._on_message
        self._client.connect(where.hostname or "127.0.0.1", where.port or 1883)
        for topic in (f"{ROOT}/+/decision/+", f"{ROOT}/+/reported", f"{REPLIES}/#"):
            self._client.subscribe(topic, qos=1)
        self._client.loop_start()

    def close(self) -> None:
        """Say goodbye to the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def event(self, topic: str, payload: dict[str, object], traceparent: str) -> None:
        """Publish one sensor reading or interaction as JSON, QoS 1."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = JSON
        properties.UserProperty = ("traceparent", traceparent)
        with self._lock:
            self._sent[_trace(traceparent)] = time.perf_counter()
        self._client.publish(topic, msgspec.json.encode(payload), qos=1, properties=properties)

    def feedback(self, device: str, decision: DecisionMade, outcome: str) -> None:
        """Say what became of a decision."""
        word = Feedback(decision_id=decision.id, outcome=outcome)
        self._put(Topics(device).of("feedback"), msgspec.msgpack.encode(word))

    def consent(self, device: str, subject: str, purposes: list[str]) -> None:
        """A person says yes to these purposes, as a retained receipt."""
        word = Consent(purposes=dict.fromkeys(purposes, True), time_ms=int(time.time() * 1000), receipt="demo")
        self._put(Topics(device).of("consent", subject), msgspec.msgpack.encode(word), retain=True)

    def ask(self, device: str, placement: str, token: str, request: Request) -> None:
        """Request a decision; the answer comes under `token`."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = MSGPACK
        properties.ResponseTopic = f"{REPLIES}/{device}"
        properties.CorrelationData = token.encode()
        self._client.publish(
            Topics(device).of("request", placement),
            msgspec.msgpack.encode(request),
            qos=1,
            properties=properties,
        )

    def reply(self, token: str) -> DecisionMade | None:
        """The answer to `ask`, once it is there."""
        with self._lock:
            return self._replies.get(token.encode())

    def reported(self, device: str) -> Reported | None:
        """What the device last said of itself."""
        with self._lock:
            return self._reported.get(device)

    def _put(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = MSGPACK
        self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def _on_message(self, client: Client, _data: object, message: MQTTMessage) -> None:
        arrived = time.perf_counter()
        acknowledge_bytes(client.socket())
        properties = message.properties
        decode = msgspec.json.decode if getattr(properties, "ContentType", "") == JSON else msgspec.msgpack.decode
        if message.topic.startswith(REPLIES):
            answer = decode(message.payload, type=DecisionMade)
            with self._lock:
                self._replies[bytes(getattr(properties, "CorrelationData", b""))] = answer
            return
        device, kind = message.topic.removeprefix(f"{ROOT}/").split("/")[:2]
        if kind == "reported":
            word = decode(message.payload, type=Reported)
            with self._lock:
                self._reported[device] = word
            return
        decision = decode(message.payload, type=DecisionMade)
        with self._lock:
            sent = self._sent.pop(_trace(decision.traceparent), None)
        if sent is not None:
            self.latencies_ms.append((arrived - sent) * 1000)
        self.decisions.put((decision, device, arrived))


def _trace(traceparent: str) -> str:
    """The trace's id: the decision's own span is another one than the event's, in the same trace."""
    return traceparent[3:35]
