"""SIGTERM ends an agent within two seconds, whatever it is doing; and systemd hears how it is at a real socket."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.shell.children import Children
from edge_agent.shell.pipe import FetchTask, ProbeTask
from firmware_configs.notify import notify
from tests.benchmarks.load import DEVICE, Driver, agent_command, broker, process, wait_for, write_agent
from tests.edge_agent.shell.test_run import STOP_S, command, stops

TOPIC = f"bench/{DEVICE}/in"


@pytest.fixture
def mute() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield listener.getsockname()[1]


def test_in_the_middle_of_a_flood_and_nothing_is_lost_by_it(tmp_path: Path) -> None:
    log, settings = tmp_path / "log", tmp_path / "a" / "agent.toml"
    with broker("mosquitto", tmp_path, "max_inflight_messages 0\n") as port:
        write_agent(tmp_path / "a", port)
        driver = Driver(port, "driver")
        driver.listen(f"edgeward/1/{DEVICE}/decision/#")
        with process(*agent_command(settings), log=log) as running:
            driver.warm(TOPIC)
            sent = 3_000
            running.send_signal(signal.SIGSTOP)
            driver.fill(TOPIC, sent)
            running.send_signal(signal.SIGCONT)
            seen = driver.answers
            while driver.answers < seen + 50:
                driver.tend(50)
            assert stops(running) < STOP_S
        with process(*agent_command(settings), log=log):
            wait_for(lambda: (driver.settle(0.2), driver.answers >= seen + sent)[1], "the rest of the decisions")
        driver.close()


def test_with_a_broker_that_takes_connections_and_never_greets(tmp_path: Path, mute: int) -> None:
    log = tmp_path / "log"
    with process(*agent_command(write_agent(tmp_path / "a", mute)), log=log) as running:
        wait_for(lambda: " start " in log.read_text(), "the agent")
        assert stops(running) < STOP_S


def test_with_a_broker_that_stopped_answering_in_mid_air(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        broker("mosquitto", tmp_path) as port,
        process(*agent_command(write_agent(tmp_path / "a", port)), log=log) as running,
    ):
        driver = Driver(port, "driver")
        driver.listen(f"edgeward/1/{DEVICE}/decision/#")
        driver.warm(TOPIC)
        (other,) = _mosquitto_of(port)
        os.kill(other, signal.SIGSTOP)
        try:
            assert stops(running) < STOP_S
        finally:
            os.kill(other, signal.SIGCONT)


def _mosquitto_of(port: int) -> list[int]:
    """The process that listens on a port: it has the port's configuration on its command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            config = next((Path(os.fsdecode(w)) for w in words if w.endswith(b"mosquitto.conf")), None)
            if config is not None and config.exists() and f"listener {port} " in config.read_text():
                found.append(int(folder.name))
    return found


def test_children_that_hang_are_ended_together(tmp_path: Path, mute: int) -> None:
    children = Children(lambda _kind, _line: None)
    for name in ("trust", "bundles"):
        (tmp_path / name).mkdir()
    fetch = FetchTask(
        name="context",
        version="9.0.0",
        registry=f"https://127.0.0.1:{mute}",
        ca="",
        trust_dir=str(tmp_path / "trust"),
        bundles_dir=str(tmp_path / "bundles"),
    )
    children.start("updater", fetch, time.monotonic() + 60)
    children.start("probe", ProbeTask(path=str(tmp_path)), time.monotonic() + 60)
    pids = [child.process.pid for child in children.running.values()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # as stuck as a process can be
    started = time.monotonic()
    children.stop(0.5)
    assert time.monotonic() - started < 1.0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's side of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        path = tmp_path / "notify"
        line.bind(str(path))
        line.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield line


def test_systemd_hears_ready_the_watchdog_and_the_end(tmp_path: Path, manager: socket.socket) -> None:
    log = tmp_path / "log"
    with (
        broker("iotcore", tmp_path) as port,
        process(*agent_command(write_agent(tmp_path / "a", port)), log=log) as running,
    ):
        assert manager.recv(100) == b"READY=1"
        assert [manager.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        running.send_signal(signal.SIGSTOP)
        manager.settimeout(2.5)
        assert _words_until_silence(manager) <= {b"WATCHDOG=1"}  # a hung loop does not feed the watchdog
        running.send_signal(signal.SIGCONT)
        manager.settimeout(20)
        running.terminate()
        words = [manager.recv(100)]
        while words[-1] != b"STOPPING=1":
            words.append(manager.recv(100))
        assert set(words[:-1]) <= {b"WATCHDOG=1"}
        assert running.wait(5) == 0


def _words_until_silence(manager: socket.socket) -> set[bytes]:
    words = set()
    try:
        while True:
            words.add(manager.recv(100))
    except TimeoutError:
        return words


def test_an_agent_that_cannot_start_never_says_ready(tmp_path: Path, manager: socket.socket) -> None:
    settings = write_agent(tmp_path / "a", 1)
    settings.write_text(settings.read_text().replace("allow_unsigned = true", ""))
    assert command("run", "--settings", settings).returncode == 2
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


def test_an_abstract_socket_is_reached_and_a_deaf_one_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        name = f"edgeward-test-{os.getpid()}"
        line.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        assert line.recv(100) == b"READY=1"
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")
