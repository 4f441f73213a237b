"""The world's processes: broker, coordinator, agents, router; started, harmed, started again as systemd would."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from coordinator.shell import pki
from coordinator.shell.enrol import enrol
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store
from demo.stack import wait_until
from edge_agent.shell.keys import make as make_node_key
from models.bundle import write_bundle
from tests.benchmarks import load
from tests.chaos import door
from tests.chaos.apart import Clocks
from tests.chaos.faults import Week
from tests.chaos.roads import Road
from tests.chaos.router import HUB, Begin, Order
from tests.models.sample import parts
from tests.rollout.versions import BASE, with_graph

GOOD = "1.4.0"
LAMP = "lamp"
"""The bundle that is learned together: `context` under another name, so that the rollout is none of its business."""
BROKER, REGISTRY, SUPERLINK = 1883, 8443, 8444
"""Ports; nobody else is here. Learners come in by a door of the test's own, which notes what they say."""
AGAIN_S = 1.5
"""After its end a process is started again; systemd's RestartSec is 100 ms, which hides what a reader should see."""
LAST_WORDS = 8
"""Lines of its log that are told when a process ended by itself."""
DISK_MIB = 24
AGENTS_S, READY_S, STOP_S = 300.0, 90.0, 30.0
_SWAP = "{ canary_share = 1.0, canary_decisions = 10, watched_decisions = 10, error_max = 1.0, "
_SWAP += "latency_ratio_max = 1000.0, reward_drop_max = 1.0 }"
_PLACEMENT = "[[placement]]"
_OCCUPIED = """
[[source.field]]
name = "occupied"
type = "flag"
category = "user.sensor"
purposes = ["bench"]
"""
_LEARNS = """
[[model]]
name = "lamp"
versions = ">=1,<2"
purposes = ["bench"]
federated = true
examples_max = 500
learn = [{ source = "room", label_field = "occupied" }]
"""
_UPDATES = """
[[purpose]]
name = "improve-models"
legal_basis = "consent"
consent = "required"
text = "The house helps to improve the guesses for everyone. It sends small numbers, and nothing of what happened here."
[[egress]]
kind = "update"
destination = "superlink"
purposes = ["improve-models"]
bytes_day_max = 9_000_000_000
privacy = { clip_norm = 1.0, secret_sum = true, epsilon_max = 50.0 }
k_min = 3
"""
PROFILE = (
    load.PROFILE.replace('event_id = "id"', 'event_id = "id"\ncritical = true')
    .replace("{ days = 1 }", "{ days = 90 }")
    .replace('purposes = ["bench"]\n[[placement]]', f'purposes = ["bench"]\nswap = {_SWAP}\n[[placement]]')
    # A decision that waits for its line is worth delivering all week, so that every one can be counted.
    .replace('fallback = "off"\n', 'fallback = "off"\nbudget_ms = 60000.0\nexpiry_s = 2592000.0\n')
    .replace('models = ["context"]', 'models = ["context", "lamp"]')
    .replace('score = "1.0 - context"', 'score = "1.0 - 0.5 * (context + lamp)"')
    .replace('{ item = "on" }', '{ item = "on", score = "0.5 * (context + lamp)" }')
    .replace("[retention]", _OCCUPIED + "[retention]")
    .replace(_PLACEMENT, _LEARNS.replace("federated", f"swap = {_SWAP}\nfederated") + _PLACEMENT)
    + _UPDATES
)
_MOSQUITTO = """
listener {port} {host}
allow_anonymous true
user root
persistence true
persistence_location {folder}/
max_queued_messages 0
set_tcp_nodelay true
"""


@dataclass
class Kept:
    """A process that is kept running."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    running: "subprocess.Popen[bytes] | None" = None
    due_s: float = 0.0
    wanted: bool = True
    starts: int = 0
    deaths: list[int] = field(default_factory=list)
    """Exit codes of ends that nobody brought about."""

    def tend(self) -> None:
        """Start it where it should run and does not."""
        if self.running is not None and (code := self.running.poll()) is not None:
            self.deaths.append(code)
            words = self.log.read_text(errors="replace").splitlines()[-LAST_WORDS:]
            print(f"{self.log.stem} ended by itself with {code}:", *words, sep="\n  ", file=sys.stderr)
            self.running, self.due_s = None, time.monotonic() + AGAIN_S
        if self.running is None and self.wanted and time.monotonic() >= self.due_s:
            self.starts += 1
            with self.log.open("ab") as log:
                self.running = subprocess.Popen(
                    self.command,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **self.environment},
                    start_new_session=True,
                )

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait; it is started again unless it is not `wanted` any more."""
        if self.running is None:
            return
        self.running.send_signal(number)
        try:
            self.running.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait()
            self.deaths.append(-signal.SIGKILL)
        self.running, self.due_s = None, time.monotonic() + AGAIN_S


class Fleet:
    """Use as a context manager, inside of `apart.go_inside`.

    Attributes:
        home: the coordinator's.
        devices: names.
    """

    def __init__(self, folder: Path, devices: int, seed: int, week: Week) -> None:
        self.home = folder / "home"
        self.devices = tuple(f"house-{number}" for number in range(devices))
        self.logs, self._ready, self.heard = folder / "logs", folder / "ready", folder / "heard"
        self._folder, self._week, self._seed = folder, week, seed
        self._logs_of = {name: self.logs / f"{name}.log" for name in ("broker", "coordinator", "door", *self.devices)}
        self._kept: dict[str, Kept] = {}
        self.nodes: dict[str, int] = {}
        """Learner → its node."""
        self.lamp = ""
        """Version of LAMP that is published first."""
        self._router: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "netns", "/run"], check=True)
        self.clocks = Clocks(self._folder / "clocks", self.devices)
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        began = Begin(devices=self.devices, seed=self._seed, broker=BROKER, registry=REGISTRY, superlink=SUPERLINK)
        with (self.logs / "router.log").open("ab") as log:
            self._router = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.router"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self._tell(began)
        self._start_broker()
        self._start_coordinator()
        for number, device in enumerate(self.devices):
            self.shape(number, self._week.roads[number])
            self._start_agent(number, device)
        self.wait_for("every agent serves", lambda: self._serving() == len(self.devices), AGENTS_S)

    def _start_broker(self) -> None:
        folder = self._folder / "broker"
        folder.mkdir()
        config = folder / "mosquitto.conf"
        config.write_text(_MOSQUITTO.format(port=BROKER, host=HUB, folder=folder))
        self._keep("broker", ["/usr/sbin/mosquitto", "-c", str(config)])
        self.wait_for("the broker listens", lambda: _listens(BROKER), READY_S)

    def _start_coordinator(self) -> None:
        registry, store = Registry.ensure(self.home), Store(self.home)
        bundles = self._folder / "bundles"
        bundles.mkdir()
        self._base = with_graph(bundles, BASE, lambda _graph: None)
        registry.publish(self._base)
        registry.publish(with_graph(bundles, GOOD, lambda _graph: None))
        spec, files = parts("context")
        lamp = write_bundle(bundles, msgspec.structs.replace(spec, name=LAMP), files)
        self.lamp = spec.version
        registry.publish(lamp)
        self._bundles = (self._base, lamp)
        for number, device in enumerate(self.devices):
            if number not in self._week.evening.learners:
                store.enrol(device, number + 1, "")  # rounds are not taken part in: no key is needed
        pki.ensure_authority(self.home)
        where = ["--broker", f"mqtt://{HUB}:{BROKER}", "--host", HUB, "--port", str(REGISTRY)]
        command = [
            _script("edge-coordinator"),
            "up",
            "--home",
            str(self.home),
            *where,
            "--ready-file",
            str(self._ready),
        ]
        self._keep("coordinator", command)
        self.wait_for("the coordinator answers", lambda: self.coordinator_answers, READY_S)
        self._start_door()

    def _start_door(self) -> None:
        told = door.Begin(
            home=str(self.home),
            superlink=f"{HUB}:{REGISTRY}",
            ca=str(self.home / "keys" / "ca.pem"),
            host=HUB,
            port=SUPERLINK,
            folder=str(self.heard),
        )
        self._keep("door", [sys.executable, "-m", "tests.chaos.door", msgspec.json.encode(told).decode()])
        self.wait_for("the door listens", lambda: _listens(SUPERLINK), READY_S)

    def _start_agent(self, number: int, device: str) -> None:
        folder = self._folder / device
        state = folder / "state"
        state.mkdir(parents=True)
        if number in self._week.small_disks:
            size = f"size={DISK_MIB}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "disk", str(state)], check=True)
        (folder / "profile.toml").write_text(PROFILE)
        learns = ""
        if number in self._week.evening.learners:
            make_node_key(state, force=False)
            self.nodes[device] = enrol(self.home, device, state / "node.pub").node
            learns = f"""
[superlink]
address = "{HUB}:{SUPERLINK}"
ca = "{self.home / "keys" / "ca.pem"}"
node_key = "{state / "node.key"}"
"""
        settings = folder / "agent.toml"
        settings.write_text(f"""
device = "{device}"
state_dir = "{state}"
profile = "{folder / "profile.toml"}"
bundles = {json.dumps([str(path) for path in self._bundles])}
allow_unsigned = true
broker = {{ url = "mqtt://{HUB}:{BROKER}", keepalive_s = 5 }}

[registry]
url = "https://{HUB}:{REGISTRY}"
ca = "{self.home / "keys" / "ca.pem"}"
trusted_root = "{Registry.existing(self.home).root_path}"
{learns}""")
        self._keep(device, ["ip", "netns", "exec", device, *load.agent_command(settings)])

    def _keep(self, name: str, command: Sequence[str]) -> None:
        device = name if name in self.devices else ""
        self._kept[name] = Kept(command, self.clocks.environment(device), self._logs_of[name])
        self._kept[name].tend()

    def _serving(self) -> int:
        return sum(view.bundles.get("context") == BASE for view in FleetStore(self.home).views())

    def wait_for(self, what: str, holds: Callable[[], bool], seconds: float) -> None:
        """Keep everything running until it holds; DemoFailed when it does not in time."""

        def tended() -> bool:
            self.tend()
            return holds()

        wait_until(what, tended, seconds=seconds, hint=f"read {self.logs}")

    def tend(self) -> None:
        """Start again what has ended."""
        assert self._router is not None
        assert self._router.poll() is None, f"the router has ended: read {self.logs / 'router.log'}"
        for kept in self._kept.values():
            kept.tend()

    def state_of(self, device: str) -> Path:
        """A device's state folder."""
        return self._folder / device / "state"

    def shape(self, number: int, road: Road) -> None:
        """A device's line is like this from now on."""
        self._tell(Order(device=self.devices[number], road=road))

    def forget(self, number: int) -> None:
        """A device's gateway is switched off and on."""
        self._tell(Order(device=self.devices[number], forget=True))

    def fill(self, number: int) -> None:
        """A device's disk is full."""
        with (
            (self.state_of(self.devices[number]) / "others").open("ab", buffering=0) as file,
            contextlib.suppress(OSError),
        ):
            while True:
                file.write(bytes(65_536))

    def free(self, number: int) -> None:
        """It is not any more."""
        (self.state_of(self.devices[number]) / "others").unlink(missing_ok=True)

    def kill(self, name: str) -> None:
        """End a process as a power cut would; it comes back."""
        self._kept[name].end(signal.SIGKILL)
        if name == "coordinator":
            self._ready.unlink(missing_ok=True)

    @property
    def coordinator_answers(self) -> bool:
        """Whether it has come up."""
        return self._ready.exists()

    def stop(self, name: str) -> None:
        """End a process in order; it does not come back before `start`."""
        self._kept[name].wanted = False
        self._kept[name].end(signal.SIGTERM)

    def start(self, name: str) -> None:
        """Let it run again."""
        self._kept[name].wanted = True
        self._kept[name].due_s = 0.0
        self._kept[name].tend()

    def call(self, *command: str, seconds: float = 60.0) -> Any:
        """Run one of the coordinator's commands by the world's clock; returns its JSON.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(
            [_script(command[0]), *command[1:], "--json"],
            capture_output=True,
            check=True,
            timeout=seconds,
            env={**os.environ, **self.clocks.environment()},
        )
        return json.loads(done.stdout)

    def begin(self, log: str, *command: str) -> "subprocess.Popen[bytes]":
        """The same, and do not wait; what it says goes to `logs/LOG.log`."""
        with (self.logs / f"{log}.log").open("ab") as out:
            return subprocess.Popen(
                [_script(command[0]), *command[1:]],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.clocks.environment()},
            )

    def report(self, folder: Path) -> dict[str, Any]:
        """What the router counted; the records of what left each device are in `folder` then."""
        folder.mkdir()
        return self._tell(Order(report=str(folder)))

    def _tell(self, word: Begin | Order) -> dict[str, Any]:
        assert self._router is not None
        assert self._router.stdin is not None
        assert self._router.stdout is not None
        self._router.stdin.write(msgspec.json.encode(word) + b"\n")
        self._router.stdin.flush()
        answer = self._router.stdout.readline()
        assert answer, f"the router has ended: read {self.logs / 'router.log'}"
        found: dict[str, Any] = json.loads(answer)
        return found

    def deaths(self) -> dict[str, Counter[int]]:
        """Process → exit codes of ends that nobody brought about."""
        return {name: Counter(kept.deaths) for name, kept in self._kept.items() if kept.deaths}

    def starts(self) -> int:
        """Agents' starts, all together."""
        return sum(self._kept[device].starts for device in self.devices)

    def end_agents(self) -> None:
        """All agents leave in order, so that their books are closed."""
        for device in self.devices:
            self._kept[device].wanted = False
            if (running := self._kept[device].running) is not None:
                running.send_signal(signal.SIGTERM)
        for device in self.devices:
            self._kept[device].end(signal.SIGTERM)

    def die(self, device: str) -> None:
        """A device ends as by a power cut, and never comes back."""
        self._kept[device].wanted = False
        self._kept[device].end(signal.SIGKILL)

    def close_door(self) -> None:
        """Learners have said everything; `heard` has it then."""
        self.stop("door")

    def __exit__(self, *_exc: object) -> None:
        for kept in reversed(self._kept.values()):
            kept.wanted = False
            kept.end(signal.SIGTERM)
        if self._router is not None and self._router.stdin is not None:
            self._router.stdin.close()
            self._router.wait(STOP_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HUB, port)) == 0


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)
