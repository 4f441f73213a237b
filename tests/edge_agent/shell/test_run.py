"""The agent as a process against a real broker: it starts, waits, refuses, goes on, and stops within two seconds."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt import publish
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from coordinator.shell.broker import free_port
from firmware_configs.messages import Status
from tests.benchmarks.load import (
    BUNDLE,
    DEVICE,
    PROFILE,
    READING,
    agent_command,
    broker,
    process,
    wait_for,
    write_agent,
)

ROOT = Path(__file__).parents[3]
STOP_S = 2.0


class Ear:
    """Hears what is published under a filter."""

    def __init__(self, port: int, *topics: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, "ear", protocol=MQTTProtocolVersion.MQTTv5)
        granted: list[int] = []
        self._client.on_message = lambda _c, _d, message: self.heard.append((message.topic, message.payload))
        self._client.on_subscribe = lambda *_: granted.append(1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        for topic in topics:
            self._client.subscribe(topic, qos=1)
        wait_for(lambda: len(granted) == len(topics), "the subscription")

    def count(self, part: str) -> int:
        return sum(part in topic for topic, _ in self.heard)

    def says(self, kind: type[Status]) -> Status:
        """The newest status; one that is offline before any came."""
        payloads = [payload for topic, payload in list(self.heard) if topic.endswith("status")]
        if not payloads:
            return kind(device="", online=False, agent="")
        return msgspec.msgpack.decode(payloads[-1], type=kind)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[int]:
    with broker("iotcore", tmp_path) as port:
        yield port


def tell(port: int, payload: bytes | dict[str, Any], topic: str = f"bench/{DEVICE}/in") -> None:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    publish.single(topic, raw, qos=1, hostname="127.0.0.1", port=port, protocol=MQTTProtocolVersion.MQTTv5)


def stops(running: "subprocess.Popen[bytes]") -> float:
    """Seconds from SIGTERM to the end."""
    started = time.monotonic()
    running.terminate()
    assert running.wait(10) == 0
    return time.monotonic() - started


def command(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_broker_that_is_not_there_is_named_waited_for_and_found(tmp_path: Path) -> None:
    with broker("iotcore", tmp_path / "first") as port:
        pass
    settings, log = write_agent(tmp_path / "agent", port), tmp_path / "log"
    with process(*agent_command(settings), log=log) as running:
        wait_for(lambda: "nothing listens there; fix: start the broker" in log.read_text(), "the reason")
        assert running.poll() is None
        # The port may be taken again: the broker starts where the agent looks for it.
        from coordinator.shell import broker as brokers

        (tmp_path / "second").mkdir()
        late = brokers.start(tmp_path / "second", "127.0.0.1", port)
        try:
            wait_for(lambda: " connected " in log.read_text(), "the line")
        finally:
            late.stop()


def test_it_stops_within_two_seconds_with_and_without_a_line(tmp_path: Path, line: int) -> None:
    log = tmp_path / "log"
    with process(*agent_command(write_agent(tmp_path / "a", line)), log=log) as running:
        wait_for(lambda: " connected " in log.read_text(), "the line")
        assert stops(running) < STOP_S
    lonely = tmp_path / "lonely"
    with process(*agent_command(write_agent(tmp_path / "b", free_port())), log=lonely) as running:
        wait_for(lambda: "nothing listens" in lonely.read_text(), "the reason")
        assert stops(running) < STOP_S


def test_the_broker_says_goodbye_for_a_stopped_agent(tmp_path: Path, line: int) -> None:
    ear = Ear(line, "edgeward/1/+/status")
    log = tmp_path / "log"
    with process(*agent_command(write_agent(tmp_path / "a", line)), log=log) as running:
        wait_for(lambda: ear.says(Status).online, "the birth")
        stops(running)
    wait_for(lambda: not ear.says(Status).online, "the last will")
    ear.close()


def test_bad_messages_are_rejected_by_name_and_the_rest_goes_on(tmp_path: Path, line: int) -> None:
    ear = Ear(line, "edgeward/1/+/rejected", "edgeward/1/+/decision/#")
    log = tmp_path / "log"
    settings = write_agent(tmp_path / "a", line, PROFILE + REJECTED)
    with process(*agent_command(settings), log=log):
        wait_for(lambda: " connected " in log.read_text(), "the line")
        for number, bad in enumerate([b"", b"{", b"\xff" * 50, b"[1, 2]", b'{"id": {}}', b"x" * 300_000]):
            tell(line, bad)
            tell(line, {"id": f"good-{number}", **READING})
        tell(line, {"id": "text", **READING, "co2": "much"})
        tell(line, {"purposes": 3}, f"edgeward/1/{DEVICE}/consent/u1")
        tell(line, b"\x00", f"edgeward/1/{DEVICE}/feedback")
        tell(line, b"\x00", f"edgeward/1/{DEVICE}/desired")
        tell(line, {"id": "last", **READING})
        wait_for(lambda: ear.count("decision") >= 7, "the decisions")
        wait_for(lambda: ear.count("rejected") >= 1, "a rejection")
    ear.close()
    found = json.loads(command("status", "--state-dir", tmp_path / "a" / "state", "--json").stdout)
    rejected = {name: count for name, count in found["counters"].items() if "reject" in name}
    assert sum(rejected.values()) >= 9, found["counters"]


def test_late_events_leave_by_the_side_and_are_not_decided(tmp_path: Path, line: int) -> None:
    ear = Ear(line, "edgeward/1/+/decision/#", "edgeward/1/+/late/room")
    log = tmp_path / "log"
    late = PROFILE.replace('event_id = "id"\n', 'event_id = "id"\nevent_time = "t"\nlate = "side"\n')
    side = '[[egress]]\nkind = "late-event"\npurposes = ["bench"]\nbytes_day_max = 1_000_000\n'
    now = time.time()
    with process(*agent_command(write_agent(tmp_path / "a", line, f"{late}\n{side}")), log=log):
        wait_for(lambda: " connected " in log.read_text(), "the line")
        for number, behind_s in enumerate([0, 30, 3_600, 59]):
            tell(line, {"id": f"r-{number}", "t": now - behind_s, **READING})
        wait_for(lambda: ear.count("decision") >= 3, "the decisions")
        wait_for(lambda: ear.count("late/room") >= 1, "the late event")
        found = json.loads(command("status", "--state-dir", tmp_path / "a" / "state", "--json").stdout)
    ear.close()
    assert (ear.count("decision"), ear.count("late/room")) == (3, 1)
    assert found["counters"]["late.room"] == 1


def test_a_running_agent_tells_the_lag_from_signal_to_decision(tmp_path: Path, line: int) -> None:
    ear = Ear(line, "edgeward/1/+/decision/#")
    log = tmp_path / "log"
    live: dict[str, Any] = {}

    def answers() -> bool:
        # On a busy machine it may not answer within its second.
        found = json.loads(command("status", "--state-dir", tmp_path / "a" / "state", "--json").stdout)
        live.update(found["live"] or {})
        return bool(live)

    with process(*agent_command(write_agent(tmp_path / "a", line)), log=log):
        wait_for(lambda: " connected " in log.read_text(), "the line")
        for number in range(3):
            tell(line, {"id": f"r-{number}", **READING})
        wait_for(lambda: ear.count("decision") >= 3, "the decisions")
        wait_for(answers, "the vital signs")
    ear.close()
    for lag in ("signal_to_decision_ms", "arrival_to_decision_ms"):
        told = live[lag]["presence"]
        assert told["count"] == 3
        assert 0.0 < told["p50_ms"] <= told["p99_ms"] < 60_000.0
    assert live["watermarks_ms"]["room"] > 0


REJECTED = """
[[egress]]
kind = "rejection"
purposes = ["bench"]
bytes_day_max = 1_000_000
"""


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("allow_unsigned = true", ""), ["allow_unsigned", "signed"]),
        (("context-", "absent-"), ["absent-"]),
        (("mqtt://", "mqtts://"), []),
        (('device = "bench"', 'devise = "bench"'), ["devise", "device"]),
    ],
)
def test_settings_that_cannot_work_end_it_at_once_with_exit_2(
    tmp_path: Path, change: tuple[str, str], names: list[str]
) -> None:
    settings = write_agent(tmp_path / "a", free_port())
    settings.write_text(settings.read_text().replace(*change))
    if change[0] == "mqtt://":
        settings.write_text(settings.read_text().replace("mqtts://127.0.0.1", "mqtts://127.0.0.1:x"))
    ended = command("run", "--settings", settings)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "fix:" in ended.stderr
    for name in names:
        assert name in ended.stderr


def test_a_corrupt_bundle_is_named(tmp_path: Path) -> None:
    torn = tmp_path / BUNDLE.name
    torn.write_bytes(BUNDLE.read_bytes()[:2_000])
    ended = command("run", "--settings", write_agent(tmp_path / "a", free_port(), bundle=torn))
    assert ended.returncode == 2
    assert str(torn) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_damaged_bundle_of_the_registry_is_named_and_the_agent_decides_without_it(tmp_path: Path, line: int) -> None:
    log = tmp_path / "log"
    settings = write_agent(tmp_path / "a", line)
    with process(*agent_command(settings), log=log):
        wait_for(lambda: " connected " in log.read_text(), "the line")
    settings.write_text(settings.read_text().replace(f'bundles = ["{BUNDLE}"]', ""))
    folder = tmp_path / "a" / "state" / "bundles"
    folder.mkdir(exist_ok=True)
    (folder / BUNDLE.name).write_bytes(b"torn")
    ear = Ear(line, "edgeward/1/+/decision/#")
    again = tmp_path / "again"
    with process(*agent_command(settings), log=again):
        wait_for(lambda: " connected " in again.read_text(), "the line")
        assert BUNDLE.name in again.read_text()
        tell(line, {"id": "1", **READING})
        wait_for(lambda: ear.count("decision") == 1, "a decision by the fallback")
    ear.close()


def test_recorded_events_replayed_give_the_same_decisions(tmp_path: Path, line: int) -> None:
    settings = write_agent(tmp_path / "a", line)
    settings.write_text("record = true\n" + settings.read_text())
    ear, log = Ear(line, "edgeward/1/+/decision/#"), tmp_path / "log"
    with process(*agent_command(settings), log=log):
        wait_for(lambda: " connected " in log.read_text(), "the line")
        for number in range(20):
            tell(line, {"id": str(number), **READING, "light": 10.0 * number})
        wait_for(lambda: ear.count("decision") == 20, "the decisions")
    ear.close()
    ended = command("replay", "--settings", settings, "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert (found["decisions"], found["differences"]) == (20, [])
    ledger = command("ledger", "--state-dir", tmp_path / "a" / "state")
    assert "chain whole" in ledger.stdout


def test_a_shipped_profile_is_fine_and_a_misspelt_key_is_named_with_the_nearest_right_one(tmp_path: Path) -> None:
    good = ROOT / "firmware_configs" / "profiles" / "home-gateway.toml"
    assert command("check", good).returncode == 0
    bad = tmp_path / "profile.toml"
    bad.write_text(good.read_text().replace("budget_ms", "budgt_ms", 1))
    ended = command("check", bad)
    assert ended.returncode == 2
    assert "budgt_ms" in ended.stderr
    assert "budget_ms" in ended.stderr.replace("budgt_ms", "")


def test_the_version_comes_without_loading_a_runtime() -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edge_agent.cli", "--version"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "edge-agent" in ended.stdout
    assert not [heavy for heavy in ("onnxruntime", "numpy", "paho") if f"| {heavy}" in ended.stderr.replace("  ", "")]


def test_a_closed_disk_is_told_and_decisions_go_on_in_memory(tmp_path: Path, line: int) -> None:
    import sqlite3

    ear, log = Ear(line, "edgeward/1/+/decision/#"), tmp_path / "log"
    with process(*agent_command(write_agent(tmp_path / "a", line)), log=log):
        wait_for(lambda: " connected " in log.read_text(), "the line")
        held = sqlite3.connect(tmp_path / "a" / "state" / "edgeward.db", isolation_level=None)
        held.execute("BEGIN IMMEDIATE")
        tell(line, {"id": "1", **READING})
        wait_for(lambda: ear.count("decision") == 1, "a decision from memory")
        assert "going on in memory" in log.read_text()
        held.execute("ROLLBACK")
        held.close()
        tell(line, {"id": "2", **READING})
        wait_for(lambda: "writing works again" in log.read_text(), "the recovery")
        # A tick may have tried the medium before the message came.
        wait_for(lambda: ear.count("decision") == 2, "a decision that is stored")
    ear.close()
    found = json.loads(command("status", "--state-dir", tmp_path / "a" / "state", "--json").stdout)
    assert found["rows"]["decision"] == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_is_a_shell_script() -> None:
    ended = command("completion", "bash")
    assert ended.returncode == 0
    assert subprocess.run(["bash", "-n"], input=ended.stdout, text=True, check=False).returncode == 0


def test_each_persons_word_is_heard_under_the_persons_own_name(tmp_path: Path, line: int) -> None:
    log, settings = tmp_path / "log", write_agent(tmp_path / "a", line)
    state = tmp_path / "a" / "state"
    with process(*agent_command(settings), log=log):
        wait_for(lambda: " connected " in log.read_text(), "the line")
        for subject, granted in (("ann", True), ("bob", False)):
            word = {"purposes": {"bench": granted}, "time_ms": 1}
            tell(line, word, f"edgeward/1/{DEVICE}/consent/{subject}")
        said: list[str] = []

        def both() -> bool:
            said[:] = command("subject", "ls", "--state-dir", state).stdout.split()
            return said == ["ann", "bob"]

        wait_for(both, "both words")
