"""`edge-coordinator up` carries rollouts on: a child is there while one is open, and goes with it."""

import threading
import time
from pathlib import Path

from coordinator.shell import broker as brokers
from coordinator.shell.home import Endpoints
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.store import Store
from coordinator.shell.up import Options, Running, _serve
from tests.coordinator.rollout.plans import planned
from tests.coordinator.rollout.test_store import begun

PATIENCE_S = 60.0


def test_up_starts_the_child_that_asks_the_first_devices_and_ends_it_when_it_stops(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for number, device in enumerate(planned().members):
        Store(home).enrol(device, number + 1, "")
    begun(home)
    port = brokers.free_port()
    url = f"mqtt://127.0.0.1:{port}"
    where = Endpoints(broker=url, registry="https://r:1", superlink="", ca="", root="", control="")
    running = Running(where, broker=brokers.start(home, "127.0.0.1", port), logs=home / "logs")
    stopped = threading.Event()
    options = Options(home=home, ready_file=tmp_path / "ready")
    serving = threading.Thread(target=_serve, args=(running, options, lambda _line: None, stopped.is_set))
    serving.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (home / "rollout.lock").exists() or _state(home) == "planned":
            assert serving.is_alive()
            assert time.monotonic() < deadline, (home / "logs" / "rollout.log").read_text()
            time.sleep(0.1)
        assert _is_carried_on(home)
    finally:
        stopped.set()
        serving.join(PATIENCE_S)
    assert not serving.is_alive()
    assert not _is_carried_on(home), "the child has ended with it"


def _state(home: Path) -> str:
    store = RolloutStore(home)
    try:
        return str(store.rollout("r").state)
    finally:
        store.close()


def _is_carried_on(home: Path) -> bool:
    """Whether a process holds the rollouts of this home."""
    from coordinator.errors import AlreadyRunning
    from coordinator.shell.rollout_loop import alone

    try:
        with alone(home):
            return False
    except AlreadyRunning:
        return True
