"""SIGKILL of the process that carries rollouts on, in every state: the next one goes on, and nobody is asked twice."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from coordinator.rollout.beginning import begin
from coordinator.rollout.plan import parse
from coordinator.rollout.state import Rollout, Wish
from coordinator.shell.rollout_store import RolloutStore
from firmware_configs.messages import ROOT, BundleState, Desired, Reported, Sums, Topics
from tests.benchmarks.load import broker, wait_for
from tests.coordinator.rollout.plans import NEW, OLD, TEXT, fleet, tally

DEVICES = fleet(6)
FIRST = 2
"""Devices of the first cohort."""
PATIENCE_S = 90.0
QUICK = (
    TEXT.replace("soak_s = 60.0", "soak_s = 2.0")
    .replace("report_every_s = 10.0", "report_every_s = 1.0")
    .replace("share = 0.25", f"devices = {DEVICES[:FIRST]}".replace("'", '"'))
    .replace("silent_after_s = 60.0", "silent_after_s = 300.0")
)


class People:
    """Devices that do what is wanted of them, and say so: one client of a real broker."""

    def __init__(self, port: int) -> None:
        self.fails = False
        self.heard: dict[str, list[Desired]] = {device: [] for device in DEVICES}
        self._made = dict.fromkeys(DEVICES, 0)
        self._client = Client(CallbackAPIVersion.VERSION2, "people", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(f"{ROOT}/+/desired", qos=1)
        self._client.loop_start()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.heard[message.topic.split("/")[-2]].append(msgspec.msgpack.decode(message.payload, type=Desired))

    def _live(self) -> None:
        while not self._stop.wait(0.2):
            for device in DEVICES:
                word = msgspec.msgpack.encode(self._report(device))
                self._client.publish(Topics(device).of("reported"), word, qos=1, retain=True)

    def _report(self, device: str) -> Reported:
        wanted = self.heard[device][-1] if self.heard[device] else None
        state = BundleState(version=OLD, state="active")
        if wanted is not None and wanted.bundles["context"] == NEW:
            self._made[device] += 5
            sums = Sums(new=tally(self._made[device]), old=tally(self._made[device]))
            state = BundleState(version=NEW, state="canary", serving=OLD, sums=sums if wanted.watch else None)
            if self.fails:
                state = BundleState(version=NEW, state="failed", reason="AGT706 boom", serving=OLD)
        return Reported(device=device, revision=wanted.revision if wanted else 0, bundles={"context": state})

    def asked(self) -> list[str]:
        """Devices that were ever asked for the new version."""
        return [device for device, words in self.heard.items() if any(w.bundles["context"] == NEW for w in words)]

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)
        self._client.disconnect()
        self._client.loop_stop()


class Child:
    """The process, killed as often as one likes."""

    def __init__(self, home: Path, port: int) -> None:
        self._command = [sys.executable, "-m", "coordinator.shell.rollout_loop", str(home), f"mqtt://127.0.0.1:{port}"]
        self._home, self.kills = home, 0
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with (self._home / "child.log").open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self, after_s: float = 0.0) -> None:
        """SIGKILL, and the next one, as `edge-coordinator up` starts it."""
        time.sleep(after_s)
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.kills += 1
        self.process = self._start()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Story:
    """A rollout on a real broker, with its child and its devices."""

    def __init__(self, home: Path, port: int, plan: str) -> None:
        home.mkdir(exist_ok=True)
        self.store = RolloutStore(home)
        members = dict.fromkeys(DEVICES, OLD)
        rollout = begin("r", parse(plan), dict.fromkeys(DEVICES, ()), members, "https://r", 1)
        self.store.begin(rollout, Wish(kind="start", who="ann"))
        self.people, self.child = People(port), Child(home, port)

    @property
    def rollout(self) -> Rollout:
        return self.store.rollout("r")

    def until(self, holds: Callable[[Rollout], bool]) -> None:
        wait_for(lambda: holds(self.rollout), f"the next state after {self.rollout.state}", PATIENCE_S)

    def wish(self, kind: str) -> None:
        self.store.wish("r", Wish(kind=kind, who="ann"))  # type: ignore[arg-type]

    def check(self) -> None:
        """Nobody was asked twice, what is wanted never went back in time, and the log is whole."""
        self.store.verify("r")
        for device, words in self.people.heard.items():
            revisions = [word.revision for word in words]
            assert revisions == sorted(revisions), device
            distinct = {word.revision: word for word in words}
            watched = [word for word in distinct.values() if word.watch.get("context") is not None]
            assert len(watched) <= 1, f"{device} was asked {len(watched)} times"
        noted = [
            device
            for entry in self.store.log("r")
            if entry.note.what.startswith("asked ")
            for device in entry.note.devices
        ]
        assert len(noted) == len(set(noted)), "the log names each once"

    def close(self) -> None:
        self.child.close()
        self.people.close()
        self.store.close()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with broker("iotcore", tmp_path) as number:
        yield number


@pytest.mark.slow
def test_a_rollout_whose_process_is_killed_in_every_state_ends_as_one_that_was_not(tmp_path: Path, port: int) -> None:
    with contextlib.closing(Story(tmp_path / "home", port, QUICK)) as story:
        story.child.kill(0.3)  # planned, or just begun
        story.until(lambda r: r.state == "soaking")
        story.child.kill()
        wait_for(lambda: len(story.people.asked()) == FIRST, "the first cohort", PATIENCE_S)
        story.wish("pause")
        story.until(lambda r: r.state == "paused")
        story.child.kill()
        time.sleep(1.0)
        assert (story.rollout.state, len(story.people.asked())) == ("paused", FIRST), "paused, it asks nobody"
        story.wish("resume")
        story.child.kill(0.1)
        story.until(lambda r: r.soaking_ms >= 0)
        story.child.kill()
        assert story.rollout.cohort == 0
        story.until(lambda r: r.cohort == 1)
        story.child.kill()
        story.until(lambda r: r.state == "done")
        story.child.kill()
        wait_for(lambda: not story.store.busy(), "the last wishes to be published", PATIENCE_S)
        assert len(story.people.asked()) == len(DEVICES)
        story.check()
        assert story.child.kills == 7


def test_a_halt_and_a_way_back_whose_process_is_killed_touch_nobody_else(tmp_path: Path, port: int) -> None:
    halting = QUICK.replace("settled_decisions", 'on_breach = "halt"\nsettled_decisions')
    with contextlib.closing(Story(tmp_path / "home", port, halting)) as story:
        story.until(lambda r: any(member.state == "trying" for member in r.members.values()))
        story.people.fails = True
        story.until(lambda r: r.state == "halted")
        story.child.kill()
        time.sleep(1.0)
        assert story.rollout.state == "halted", "a person decides what comes then"
        story.wish("rollback")
        story.until(lambda r: r.state in {"rolling-back", "rolled-back"})
        story.child.kill()
        story.until(lambda r: r.state == "rolled-back")
        story.child.kill()
        wait_for(lambda: not story.store.busy(), "the last wishes to be published", PATIENCE_S)
        back = lambda: all(story.people.heard[d][-1].bundles["context"] == OLD for d in DEVICES[:FIRST])  # noqa: E731
        wait_for(back, "the way back", PATIENCE_S)
        assert story.people.asked() == DEVICES[:FIRST], "nobody else was touched"
        assert structs.asdict(story.rollout)["reason"].startswith("devices")
        story.check()
