"""A small fleet that is all real, for commands of documents: `up` with mosquitto, and one device that decides."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.home import endpoints_of
from tests.coordinator.seat import PROFILE, Peer, until
from tests.rollout.versions import with_graph

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "models" / "zoo" / "bundles"
SCRIPTS = Path(sys.executable).parent
DEVICE, PERSON = "home-1", "anna"
UP = "edge-coordinator up --broker mosquitto"
PLAN = """
schema = 1
bundle = "context"
version = "1.0.1"
start = "canary"
report_every_s = 1.0

[[cohort]]
share = 1.0
soak_s = 86400.0
decisions_min = 100000
"""


@dataclass
class World:
    """A coordinator's home, a device's folder, and the processes of both."""

    folder: Path
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    said: int = 0

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "EDGE_COORDINATOR_HOME": str(self.home),
            "EDGE_AGENT_STATE_DIR": str(self.state),
            "EDGE_AGENT_SETTINGS": str(self.folder / "agent.toml"),
            "EDGE_AGENT_REASON": "incident 7",
            "BACKUPS": str(self.folder / "backups"),
        }

    def shell(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run one command line as a person types it."""
        return subprocess.run(
            ["bash", "-c", command],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def does(self, command: str) -> str:
        """The same, where it must succeed."""
        done = self.shell(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def begin(self, name: str, command: str) -> None:
        """Start what goes on until it is stopped."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], env=self.environment, cwd=self.folder, stdout=log, stderr=log
            )

    def end(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        process.wait(30)

    def up(self, command: str = UP) -> None:
        """Start the coordinator, on ports of its last time, and wait until it answers."""
        ready = self.folder / "ready"
        self.begin("up", f"{command} --ready-file {ready}")
        until(lambda: ready.exists() or self.processes["up"].poll() is not None)
        assert ready.exists(), (self.folder / "up.log").read_text()[-2000:]

    def serves(self, version: str) -> bool:
        """Whether the device says that this version of `context` serves."""
        view = FleetStore(self.home).view(DEVICE)
        told = view.reported.bundles.get("context") if view.reported else None
        return told is not None and (told.version, told.state) == (version, "active")

    def connected(self) -> bool:
        return bool(json.loads(self.shell("edge-agent status --json").stdout)["live"]["line"]["state"] == "up")

    def events(self, count: int) -> None:
        """Let the room and a person be heard, and wait for the decisions."""
        before = self._decisions()
        endpoints = endpoints_of(self.home)
        certs = self.folder / "certs"
        url = endpoints.device_broker
        with Peer(url, str(certs / "ca.pem"), str(certs / "people.pem"), str(certs / "people.key"), "people") as app:
            for _ in range(count):
                self.said += 1
                room = {"temperature": 21.0, "humidity": 27.0, "light": 450.0, "co2": 700.0, "occupied": True}
                stamp = {"id": f"e{self.said}", "time": time.time()}
                app.say(f"home/{DEVICE}/room", json.dumps({**stamp, **room}).encode())
                told = {**stamp, "user": PERSON, "item": "1"}
                app.say(f"home/{DEVICE}/interaction", json.dumps(told).encode())
        until(lambda: self._decisions() >= before + count)

    def _decisions(self) -> int:
        return int(json.loads(self.does("edge-agent status --json"))["counters"].get("decisions", 0))


def settle(world: World) -> None:
    """A device comes in, runs the zoo's `context` 1.0.0, decides, and a rollout of 1.0.1 begins."""
    world.up()
    token = world.does("edge-coordinator nodes invite").split()
    secret = next(word for word in token if word.startswith("edgeward1."))
    shutil.copy(PROFILE, world.folder / "profile.toml")
    url = endpoints_of(world.home).registry
    world.does(
        f"edge-agent enrol {url} {secret} --settings agent.toml --device {DEVICE} --state-dir {world.state}"
        " --profile profile.toml"
    )
    world.does(f"edge-coordinator fleet profile profile.toml {DEVICE}")
    for path in (ZOO / "context-1.0.0.edgeward", with_graph(world.folder, "1.0.1", lambda _graph: None)):
        world.does(f"edge-coordinator registry publish {path}")
    world.does(f"edge-coordinator deploy context 1.0.0 --device {DEVICE}")
    world.begin("agent", "edge-agent run")
    until(lambda: world.serves("1.0.0"))
    world.does("edge-coordinator nodes app people --role sensor --out certs")
    time.sleep(1.0)
    for word in ("household comfort", f"{PERSON} personalise"):
        world.does(f"edge-agent consent grant {word}")
    world.events(3)
    (world.folder / "rollout.toml").write_text(PLAN)
    world.does("edge-coordinator rollout start rollout.toml")


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """It, running; everything is stopped at the end."""
    made = World(folder)
    try:
        settle(made)
        yield made
    finally:
        for name in reversed(list(made.processes)):
            with suppress(subprocess.TimeoutExpired):
                made.end(name)


def commands(text: str) -> list[str]:
    """The command lines of a document's `console` blocks, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
