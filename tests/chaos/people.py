"""Those who publish events and hear decisions, at the hub; their sessions outlive the broker's restarts."""

import threading
import time
from collections import Counter, defaultdict, deque

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.sources import HOUSEHOLD
from firmware_configs.messages import ROOT, Consent, DecisionMade, Topics
from tests.benchmarks import load

KEPT_S = 30 * 86_400
EARS_S = 30.0


class People:
    """One client for everybody.

    Attributes:
        sent: number of events so far; an event's id is `e` and its number.
        heard: number of an event → ids of the decisions about it.
        messages: decision's id → how often it came.
        versions: device → bundle → version, of what decided last.
    """

    def __init__(self, host: str, port: int, devices: tuple[str, ...]) -> None:
        self.sent = 0
        self.heard: defaultdict[int, set[str]] = defaultdict(set)
        self.messages: Counter[str] = Counter()
        self.versions: dict[str, dict[str, str]] = {}
        self.fallbacks = 0
        self._devices = devices
        self._under_way: dict[int, int] = {}
        self._taken: deque[int] = deque()
        self._acknowledged: set[int] = set()
        listens = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "people", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(1, 2)
        self._client.max_inflight_messages_set(1_000)
        self._client.on_message = self._on_decision
        self._client.on_publish = self._on_taken
        self._client.on_subscribe = lambda *_: listens.set()
        self._client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/+/decision/presence", qos=1)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = KEPT_S
        self._client.connect(host, port, keepalive=10, clean_start=False, properties=kept)
        self._client.loop_start()
        assert listens.wait(EARS_S), "the broker did not answer to a subscription"

    def agree(self, device: str) -> None:
        """A household lets its device learn together with others."""
        word = Consent(purposes={"improve-models": True}, time_ms=int(time.time() * 1_000))
        self._client.publish(Topics(device).of("consent", HOUSEHOLD), msgspec.msgpack.encode(word), 1, retain=True)

    def say(self, device: str) -> None:
        """One more event: somebody enters or leaves a room."""
        number, traced = self.sent, Properties(PacketTypes.PUBLISH)
        traced.UserProperty = ("traceparent", f"00-{number + 1:032x}-{number + 1:016x}-01")
        lit = (number // len(self._devices)) % 2 == 0
        event = {"id": f"e{number}", **load.READING, "light": 450.0 if lit else 5.0, "occupied": lit}
        self.sent += 1
        payload = msgspec.json.encode(event)
        info = self._client.publish(f"bench/{device}/in", payload, qos=1, properties=traced)
        self._under_way[info.mid] = number

    @property
    def acknowledged(self) -> set[int]:
        """Numbers of the events that the broker has taken: its acknowledgement came."""
        while self._taken:
            number = self._under_way.pop(self._taken.popleft(), None)
            if number is not None:  # else a household's word
                self._acknowledged.add(number)
        return self._acknowledged

    def _on_taken(self, _client: Client, _data: object, mid: int, reason: ReasonCode, _told: object) -> None:
        # On paho's thread, under its locks: no more than this.
        if not reason.is_failure:
            self._taken.append(mid)

    def _on_decision(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        made = msgspec.msgpack.decode(message.payload, type=DecisionMade)
        self.messages[made.id] += 1
        self.heard[int(made.traceparent.split("-")[1], 16) - 1].add(made.id)
        self.fallbacks += bool(made.fallback) and self.messages[made.id] == 1
        self.versions[message.topic.split("/")[-3]] = made.bundles

    def settle(self, seconds: float) -> bool:
        """Wait until everything that was sent is taken and answered; whether it was."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if len(self.acknowledged) == self.sent and len(self.heard) == self.sent:
                return True
            time.sleep(0.1)
        return False

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()
