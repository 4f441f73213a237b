"""A coordinator and its agents, as processes, and the people who live with them: events in, decisions out, feedback."""

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from coordinator.fleet.view import DeviceView
from coordinator.shell import broker as brokers
from coordinator.shell import pki
from coordinator.shell.broker import free_port
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.home import Endpoints
from coordinator.shell.listening import Listener
from coordinator.shell.registry_store import Registry
from coordinator.shell.rollout_child import RolloutChild
from coordinator.shell.store import Store
from coordinator.shell.up import _door_command
from demo.stack import Stack, wait_until
from firmware_configs.messages import ROOT, DecisionMade, Desired, Feedback, Topics
from tests.benchmarks import load
from tests.rollout.versions import BASE, Version

HOST = "127.0.0.1"
AGENTS_S = 240.0
SETTLE_S = 30.0
# Devices do not defend themselves here: what halts a rollout must be the rollout. Nobody's patience is tested either.
_SWAP = "{ canary_share = 0.5, canary_decisions = 100000, error_max = 1.0, latency_ratio_max = 1000.0, "
_SWAP += "reward_drop_max = 1.0 }"
PROFILE = load.PROFILE.replace(
    'purposes = ["bench"]\n[[placement]]', f'purposes = ["bench"]\nswap = {_SWAP}\n[[placement]]'
).replace(
    'fallback = "off"\n',
    'fallback = "off"\nbudget_ms = 5000.0\n'
    'reward = [{ outcome = "right", value = 1.0 }, { outcome = "wrong", value = 0.0 }]\n',
)


class Village:
    """Use as a context manager: everything is stopped at the end, whatever happened.

    Attributes:
        deciders: version → devices that decided by it.
    """

    def __init__(self, folder: Path, agents: int, rate: float, versions: dict[str, Version]) -> None:
        """Prepare.

        Args:
            rate: events a second and device.
        """
        self.home = folder / "home"
        self.devices = [f"house-{number}" for number in range(agents)]
        self.deciders: dict[str, set[str]] = {}
        self.first_by: dict[str, float] = {}
        """Version → unix s of its first decision."""
        self.sent = 0
        self.decided: Counter[str] = Counter()
        self.fallbacks = 0
        self._folder, self._rate, self._versions = folder, rate, versions
        self._stack = Stack(folder)
        self._lock, self._stop = threading.Lock(), threading.Event()

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._stack.stop()
            raise
        return self

    def _begin(self) -> None:
        registry, store = Registry.ensure(self.home), Store(self.home)
        registry.refresh()
        for version in self._versions.values():
            registry.publish(version.path)
        self.where = self._serve(registry)
        self._listener = Listener(self.where.broker, self.home, broker_log=False).__enter__()
        self._rollouts = RolloutChild(self.home, self.where.broker, self._stack.logs)
        for number, device in enumerate(self.devices):
            store.enrol(device, number + 1, "")  # rounds are not taken part in: no key is needed
            self._stack.start(device, ["edge-agent", "run", "--settings", str(self._settings(device))])
        fleet = FleetStore(self.home)
        wait_until(
            "every agent serves",
            lambda: [view.bundles.get("context") for view in fleet.views()] == [BASE] * len(self.devices),
            seconds=AGENTS_S,
            hint=str(self._stack.logs),
        )
        self._client = Client(CallbackAPIVersion.VERSION2, "people", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._on_decision
        listens = threading.Event()
        self._client.on_subscribe = lambda *_: listens.set()
        host, port = self.where.broker.removeprefix("mqtt://").split(":")
        self._client.connect(host, int(port))
        self._client.loop_start()
        self._client.subscribe(f"{ROOT}/+/decision/presence", qos=1)
        assert listens.wait(load.READY_S)
        self._living = threading.Thread(target=self._live, daemon=True)
        self._living.start()

    def _serve(self, registry: Registry) -> Endpoints:
        """What `edge-coordinator up` starts, but for the SuperLink, which no rollout needs."""
        port, door = free_port(), free_port()
        self._broker = brokers.start(self.home, HOST, port)
        authority, server = pki.ensure_authority(self.home), pki.ensure_server(self.home, pki.LOCAL)
        where = Endpoints(
            broker=f"mqtt://{HOST}:{port}",
            registry=f"https://{HOST}:{door}",
            superlink=f"{HOST}:{door}",
            ca=str(authority.certificate),
            root=str(registry.root_path),
            control=f"{HOST}:{free_port()}",
        )
        self._stack.start("door", _door_command(self.home, where, HOST, door, server))
        (self.home / "endpoints.json").write_bytes(msgspec.json.encode(where))
        return where

    def _settings(self, device: str) -> Path:
        folder = self._folder / device
        folder.mkdir(parents=True)
        (folder / "profile.toml").write_text(PROFILE)
        where, base = self.where, self._versions["base"].path
        text = f"""
device = "{device}"
state_dir = "{folder / "state"}"
profile = "{folder / "profile.toml"}"
bundles = ["{base}"]
allow_unsigned = true
broker = {{ url = "{where.broker}" }}
registry = {{ url = "{where.registry}", ca = "{where.ca}", trusted_root = "{where.root}" }}
"""
        path = folder / "agent.toml"
        path.write_text(text)
        return path

    def _live(self) -> None:
        """Rooms are entered and left, all day long; what is late is sent at once, so that the rate holds."""
        due, number = time.monotonic(), 0
        while not self._stop.is_set():
            device = self.devices[number % len(self.devices)]
            lit = _lit(number, len(self.devices))
            event = {"id": f"e{number}", **load.READING, "light": 450.0 if lit else 5.0, "co2": 900.0 if lit else 450.0}
            traced = Properties(PacketTypes.PUBLISH)
            traced.UserProperty = ("traceparent", f"00-{number + 1:032x}-{number + 1:016x}-01")
            self.sent += 1
            self._client.publish(f"bench/{device}/in", msgspec.json.encode(event), qos=1, properties=traced)
            number += 1
            due += 1.0 / (self._rate * len(self.devices))
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _on_decision(self, client: Client, _data: object, message: MQTTMessage) -> None:
        made = msgspec.msgpack.decode(message.payload, type=DecisionMade)
        device, now = message.topic.split("/")[-3], time.time()
        version = made.bundles.get("context", "")
        with self._lock:
            self.decided[made.id] += 1
            self.fallbacks += bool(made.fallback) and self.decided[made.id] == 1
            self.first_by.setdefault(version, now)
            self.deciders.setdefault(version, set()).add(device)
        number = int(made.traceparent.split("-")[1], 16) - 1
        right = (made.items[0] == "on") == _lit(number, len(self.devices))
        word = Feedback(decision_id=made.id, outcome="right" if right else "wrong")
        client.publish(Topics(device).of("feedback"), msgspec.msgpack.encode(word), qos=1)

    def wanted(self) -> dict[str, Desired]:
        """Device → what is wanted of it."""
        return {view.name: view.desired for view in FleetStore(self.home).views()}

    def views(self) -> list[DeviceView]:
        """What the coordinator knows of the devices."""
        return FleetStore(self.home).views()

    def running(self) -> dict[str, str]:
        """Device → version that serves, as it says."""
        return {view.name: view.bundles.get("context", "") for view in FleetStore(self.home).views()}

    def check(self) -> None:
        """Raise when a process has ended; start the rollout's where it is needed, as `up` does."""
        self._stack.check()
        self._listener.check()
        self._rollouts.tend()

    def settle(self) -> int:
        """Send nothing more, wait for what is under way; returns events that nobody decided."""
        self._stop.set()
        self._living.join()
        deadline = time.monotonic() + SETTLE_S
        while len(self.decided) < self.sent and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.sent - len(self.decided)

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._rollouts.stop()
        self._client.disconnect()
        self._client.loop_stop()
        self._listener.__exit__()
        self._stack.stop()
        self._broker.stop()


def _lit(number: int, devices: int) -> bool:
    """Each room is lit and dark in turn."""
    return (number // devices) % 2 == 0
