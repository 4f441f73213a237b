"""`edge-agent doctor`: each thing that can be wrong on a device is named, with its fix; a healthy one is left alone."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.shell.broker import free_port
from edge_agent.shell.doctor import device
from edge_agent.shell.doctor.check import Check, exit_code, fail, ok, warn
from edge_agent.shell.doctor.examination import examine
from edge_agent.shell.vitals import ask
from firmware_configs.profile import Device
from tests.benchmarks.load import PROFILE, agent_command, broker, process, wait_for, write_agent
from tests.edge_agent.shell.test_run import command

MOSQUITTO = shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()
needs_mosquitto = pytest.mark.skipif(not MOSQUITTO, reason="needs Debian's mosquitto (make setup-dev)")
SMALL = Device(class_="c", fleet="f", disk_mib_max=4, memory_mib_max=32)


def found(settings: Path, name: str) -> Check:
    """The (worst) finding of one name."""
    return max((c for c in examine(settings, None) if c.name == name), key=lambda c: exit_code([c]))


@pytest.fixture
def line(tmp_path: Path) -> Iterator[int]:
    with broker("iotcore", tmp_path) as port:
        yield port


def test_a_healthy_device_passes_beside_its_running_agent_and_nothing_is_changed(tmp_path: Path, line: int) -> None:
    settings, log = write_agent(tmp_path / "a", line), tmp_path / "log"
    with process(*agent_command(settings), log=log) as running:
        wait_for(lambda: " connected " in log.read_text(), "the line")
        ended = command("doctor", "--settings", settings, "--json")
        told = json.loads(ended.stdout)
        verdicts = {check["name"]: check["verdict"] for check in told["checks"]}
        # Whether this machine's clock is synchronised is not ours to say.
        verdicts.pop("clock")
        assert set(verdicts.values()) == {"ok"}, told
        assert {"profile", "agent", "folder", "space", "state", "broker", "topics", "model"} <= set(verdicts)
        assert ended.returncode == told["exit_code"] <= 1
        agent = next(check["what"] for check in told["checks"] if check["name"] == "agent")
        assert f"process {running.pid}" in agent
        still = ask(tmp_path / "a" / "state")
        assert still is not None
        assert still.line.state == "up"
    words = command("doctor", "--settings", settings)
    assert "context-1.0.0.edgeward loads and gives its golden outputs" in words.stdout


def test_wrong_settings_or_a_wrong_profile_end_it_there(tmp_path: Path) -> None:
    settings = write_agent(tmp_path / "a", free_port())
    settings.write_text(settings.read_text().replace("device =", "devise ="))
    checks = list(examine(settings, None))
    assert [(c.name, c.verdict) for c in checks] == [("settings", "fail")]
    assert "device" in checks[0].what + checks[0].fix
    settings = write_agent(tmp_path / "b", free_port(), PROFILE.replace("[retention]", "[r]"))
    assert found(settings, "profile").verdict == "fail"


def test_no_broker(tmp_path: Path) -> None:
    check = found(write_agent(tmp_path / "a", free_port()), "broker")
    assert (check.verdict, "nothing listens there" in check.what) == ("fail", True)
    assert command("doctor", "--settings", tmp_path / "a" / "agent.toml").returncode == 2


def test_something_that_is_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.shell.doctor.line.WAIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        check = found(write_agent(tmp_path / "a", mute.getsockname()[1]), "broker")
    assert (check.verdict, "does not greet" in check.what) == ("fail", True)


@needs_mosquitto
def test_a_wrong_password(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "dev", "right"], check=True, capture_output=True)
    more = f"user root\npassword_file {passwords}\n"
    with broker("mosquitto", tmp_path, more) as port:
        settings = write_agent(tmp_path / "a", port)
        secret = tmp_path / "a" / "password"
        line = f'url = "mqtt://127.0.0.1:{port}", user = "dev", password_file = "{secret}"'
        settings.write_text(settings.read_text().replace(f'url = "mqtt://127.0.0.1:{port}"', line))
        secret.write_text("wrong\n")
        secret.chmod(0o600)
        refused = found(settings, "broker")
        assert (refused.verdict, "user `dev`" in refused.what) == ("fail", True)
        secret.write_text("right\n")
        assert found(settings, "broker").verdict == "ok"


def _refusing_broker(listener: socket.socket) -> None:
    """Lets everybody in and grants nothing. (mosquitto grants what its access list then does not serve.)"""
    line, _ = listener.accept()
    with line:
        line.recv(4_096)
        line.sendall(bytes([0x20, 3, 0, 0, 0]))
        asked = line.recv(4_096)
        line.sendall(bytes([0x90, 8, asked[2], asked[3], 0, *[0x87] * 5]))
        line.recv(4_096)


def test_topics_that_may_not_be_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = threading.Thread(target=_refusing_broker, args=(listener,))
        other.start()
        check = found(write_agent(tmp_path / "a", listener.getsockname()[1]), "topics")
        other.join(10)
    assert check.verdict == "fail"
    assert "no right to read edgeward/1/bench/feedback" in check.what
    assert "bench/bench/in" in check.what


def test_a_port_without_tls_and_a_certificate_of_a_stranger(tmp_path: Path, line: int) -> None:
    settings = write_agent(tmp_path / "a", line)
    settings.write_text(settings.read_text().replace("mqtt://", "mqtts://"))
    check = found(settings, "broker")
    assert check.verdict == "fail"
    assert "TLS" in check.what + check.fix


def test_a_damaged_state_file_and_one_of_the_future(tmp_path: Path, line: int) -> None:
    settings, log = write_agent(tmp_path / "a", line), tmp_path / "log"
    state = tmp_path / "a" / "state"
    with process(*agent_command(settings), log=log):
        wait_for(lambda: " connected " in log.read_text(), "the line")
    assert found(settings, "state").verdict == "ok"
    whole = (state / "edgeward.db").read_bytes()
    with sqlite3.connect(state / "edgeward.db") as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    future = found(settings, "state")
    assert (future.verdict, "AGT303" in future.what) == ("fail", True)
    (state / "edgeward.db").write_bytes(whole[:4_096] + os.urandom(len(whole) - 4_096))
    damaged = found(settings, "state")
    assert (damaged.verdict, "AGT302" in damaged.what) == ("fail", True)
    assert "takes over" in damaged.fix


def test_a_torn_bundle_and_a_missing_one(tmp_path: Path) -> None:
    from tests.benchmarks.load import BUNDLE

    torn = tmp_path / BUNDLE.name
    torn.write_bytes(BUNDLE.read_bytes()[:3_000])
    check = found(write_agent(tmp_path / "a", free_port(), bundle=torn), "model")
    assert (check.verdict, BUNDLE.name in check.what) == ("fail", True)
    settings = write_agent(tmp_path / "b", free_port())
    settings.write_text(settings.read_text().replace(f'bundles = ["{BUNDLE}"]', ""))
    assert found(settings, "model").verdict == "warn"


def test_a_folder_that_everyone_may_enter_and_one_that_is_none(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    checks = list(device.folder(tmp_path, SMALL))
    assert (checks[0].verdict, "chmod o-rwx" in checks[0].fix) == ("warn", True)
    assert [c.name for c in checks[1:]] == ["space", "disk speed"]
    assert sorted(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert next(device.folder(tmp_path / "file", SMALL)).verdict == "fail"
    assert next(device.folder(tmp_path / "new" / "er", SMALL)).verdict == "ok"


def test_a_clock_that_was_never_set_or_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_agent.settings import Settings

    settings = Settings(device="d", state_dir=str(tmp_path))
    now = time.time_ns() // 1_000_000
    back = [c for c in device.clock(settings, now + 3_600_000) if c.name == "clock"]
    assert (back[0].verdict, "before the newest row" in back[0].what) == ("warn", True)
    monkeypatch.setattr(device, "wall_ms", lambda: 86_400_000)
    never = [c for c in device.clock(settings, 0) if c.name == "clock"]
    assert (never[0].verdict, "1970-01-02" in never[0].what) == ("fail", True)


def test_secrets_that_others_can_read(tmp_path: Path) -> None:
    settings = write_agent(tmp_path / "a", free_port())
    secret = tmp_path / "secret"
    secret.write_text("word\n")
    secret.chmod(0o644)
    settings.write_text(
        settings.read_text().replace("broker = {", f'broker = {{ user = "u", password_file = "{secret}",')
    )
    check = found(settings, "secrets")
    assert (check.verdict, check.fix) == ("warn", f"chmod 600 {secret}")


def test_the_worst_finding_is_the_exit_code() -> None:
    assert exit_code([]) == 0
    assert exit_code([ok("a", "")]) == 0
    assert exit_code([ok("a", ""), warn("b", "", "")]) == 1
    assert exit_code([fail("a", "", ""), warn("b", "", "")]) == 2


def test_doctor_takes_no_message_away_from_a_shared_subscription(tmp_path: Path, line: int) -> None:
    shared = PROFILE.replace('topic = "bench/{device}/in"', 'topic = "$share/fleet/bench/{device}/in"')
    checks = {c.name: c for c in examine(write_agent(tmp_path / "a", line, shared), None)}
    assert checks["topics"].verdict == "ok"
    assert "1 shared ones not tried" in checks["topics"].what
