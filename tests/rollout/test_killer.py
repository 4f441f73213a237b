"""A version that ends the agent's process in a later call: the agent goes back by itself, the rollout halts."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from coordinator.rollout.beginning import begin
from coordinator.rollout.plan import parse
from coordinator.rollout.state import Wish
from coordinator.shell import pki
from coordinator.shell.registry_store import Registry
from coordinator.shell.rollout_line import BrokerLine
from coordinator.shell.rollout_loop import RolloutLoop
from coordinator.shell.rollout_store import RolloutStore
from edge_agent.shell import inspect
from tests.attack.mirror import mirror
from tests.attack.powercut import Bench
from tests.attack.yard import CONTEXT
from tests.benchmarks.load import DEVICE, READING, agent_command, broker, wait_for
from tests.edge_agent.shell import mutants as mutation
from tests.edge_agent.shell.test_run import tell
from tests.rollout.versions import with_graph

OLD, NEW, OTHER = "1.0.0", "1.0.1", "bystander"
WATCHDOG_S = 4.0
"""The unit says 30; the agent feeds it every second."""
DEADLY = 1_000_000.0
PLAN = f"""
schema = 1
bundle = "context"
version = "{NEW}"
start = "full"
settled_decisions = 1000
report_every_s = 1.0
[[cohort]]
name = "first"
devices = ["{DEVICE}"]
soak_s = 3600.0
[[cohort]]
name = "everyone"
share = 1.0
soak_s = 3600.0
[guard.devices]
failed_max = 0.0
silent_max = 0.5
silent_after_s = 300.0
"""


class Supervisor:
    """What systemd does for the agent: starts it again when it ends, and ends it when it feeds no watchdog."""

    def __init__(self, settings: Path, log: Path, folder: Path) -> None:
        self._command, self._log, self.aborted, self.starts = agent_command(settings), log, 0, 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(WATCHDOG_S)
        self._environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
        self._stop = threading.Event()
        log.touch()
        self._thread = threading.Thread(target=self._supervise)
        self._thread.start()

    def _supervise(self) -> None:
        while not self._stop.is_set():
            self.starts += 1
            with self._log.open("ab") as out:
                agent = subprocess.Popen(self._command, stdout=out, stderr=out, env=self._environment)
            self._watch(agent)

    def _watch(self, agent: "subprocess.Popen[bytes]") -> None:
        ready = False
        while agent.poll() is None:
            if self._stop.is_set():
                agent.terminate()
                agent.wait(60)
                return
            try:
                ready = b"READY=1" in self._socket.recv(4_096) or ready
            except TimeoutError:
                if ready:
                    self.aborted += 1
                    agent.send_signal(signal.SIGABRT)
                    agent.wait(60)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(90)
        self._socket.close()


@contextlib.contextmanager
def carried_on(home: Path, port: int) -> Iterator[None]:
    """The coordinator's rollouts, as its child carries them on."""
    stop = threading.Event()

    def turn() -> None:
        store = RolloutStore(home)
        with BrokerLine(f"mqtt://127.0.0.1:{port}", home) as line:
            loop = RolloutLoop(store, line, lambda: int(time.time() * 1_000), lambda _line: None)
            while not stop.is_set():
                loop.turn(0.2)
        store.close()

    turning = threading.Thread(target=turn)
    turning.start()
    try:
        yield
    finally:
        stop.set()
        turning.join(20)


def asked(home: Path, check: Callable[[str], bool]) -> bool:
    store = RolloutStore(home)
    try:
        return check(store.rollout("r").state)
    finally:
        store.close()


def test_a_version_that_kills_the_agent_in_a_later_call_is_halted_and_returned_and_decisions_go_on(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    registry = Registry.ensure(home)
    registry.publish(CONTEXT)
    registry.publish(with_graph(tmp_path, NEW, lambda g: mutation.hang_on(g, b"features", 100_000, 2**23, 400)))
    pki.ensure_server(home)
    with broker("iotcore", tmp_path) as port, mirror(home) as served, contextlib.ExitStack() as left:
        served.folder = home / "registry"
        bench = Bench(tmp_path, port, served, registry)
        left.callback(bench.ear.close)
        agent = Supervisor(bench.settings, bench.log, tmp_path)
        left.callback(agent.stop)
        wait_for(lambda: " connected " in bench.log.read_text(), "the agent", 60.0)
        assert bench.decides() == OLD
        members = {DEVICE: OLD, OTHER: OLD}
        store = RolloutStore(home)
        plan, now_ms = parse(PLAN), int(time.time() * 1_000)
        rollout = begin("r", plan, dict.fromkeys(members, ()), members, served.url, now_ms)
        store.begin(rollout, Wish(kind="start", who="ann"))
        left.enter_context(carried_on(home, port))
        wait_for(lambda: bench.decides() == NEW, "the new version to serve", 60.0)
        decided = bench.ear.count("/decision/")
        tell(port, {"id": "deadly", **READING, "light": DEADLY})
        wait_for(lambda: bench.ear.count("/decision/") > decided, "a decision about what killed it", 120.0)
        assert bench.decides() == OLD
        wait_for(lambda: asked(home, lambda state: state == "rolled-back"), "the rollback", 60.0)
        assert agent.aborted >= 2, "it died twice"
        held = inspect.bundles(bench.state)["context"]
        assert "ended the agent's process" in held["refused"][NEW]
        found = store.rollout("r")
        assert found.reason.startswith("devices: 1 of 1 devices of first failed")
        assert "ended the agent's process" in found.reason
        assert found.members[OTHER].state == "waiting", "nobody else was touched"
        told = [entry.note.what for entry in store.log("r")]
        assert "halted by the guard devices" in told
        store.verify("r")
        store.close()
        assert bench.decides() == OLD
