"""`edge-coordinator` as people call it: real processes, exit codes, errors that say the fix."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from click.testing import CliRunner, Result
from paho.mqtt import subscribe
from paho.mqtt.enums import MQTTProtocolVersion

from coordinator.cli import main
from firmware_configs.messages import Desired, RoundOffer, Topics
from tests.coordinator.fleet import CONTEXT, Coordinator, Device, run_learner

SCRIPT = Path(sys.executable).parent / "edge-coordinator"


def call(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_every_command_explains_itself() -> None:
    for words in (
        [],
        ["up"],
        ["nodes"],
        ["nodes", "enrol"],
        ["registry", "publish"],
        ["deploy"],
        ["simulate"],
        ["train"],
        ["rounds", "ls"],
        ["status"],
    ):
        done = call(*words, "--help")
        assert done.exit_code == 0
        assert "Usage: edge-coordinator" in done.output
    assert "Examples" in call("--help").output


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (["train", "context"], "CRD101", 1),
        (["deploy", "context", "1.0.0"], "CRD101", 1),
        (["status"], "CRD101", 1),
        (["registry", "ls"], "CRD304", 1),
        (["nodes", "enrol", "home-1", "--public-key", "nowhere.pub"], "CRD106", 2),
        (["nodes", "enrol", "a/b", "--public-key", "nowhere.pub"], "CRD107", 2),
        (["nodes", "revoke", "home-1"], "CRD101", 1),
    ],
)
def test_without_a_coordinator_each_command_says_what_to_do(
    tmp_path: Path, words: list[str], code: str, exit_code: int
) -> None:
    done = call(*words, "--home", str(tmp_path))
    assert done.exit_code == exit_code, done.output
    assert done.stderr.startswith(f"error: [{code}]")
    assert "fix: " in done.stderr


def test_a_wrong_option_is_a_usage_error() -> None:
    assert call("train", "context", "--rounds", "0").exit_code == 2
    assert call("train", "context", "--strategy", "guess").exit_code == 2


def test_a_fresh_home_lists_nothing(tmp_path: Path) -> None:
    assert call("nodes", "ls", "--home", str(tmp_path)).output == "no device is enrolled\n"
    assert call("rounds", "ls", "--home", str(tmp_path)).output == "no run yet\n"
    assert json.loads(call("rounds", "ls", "--home", str(tmp_path), "--json").output) == []


def test_a_doctor_who_saw_nobody_finds_nobody_well(tmp_path: Path) -> None:
    done = call("fleet", "doctor", "--home", str(tmp_path))
    assert done.exit_code == 1
    assert "no device was looked at" in done.output


LOOKS = ["status", "rounds ls", "nodes ls", "fleet ls", "fleet doctor", "rollout ls", "experiments ls", "registry ls"]
CHANGES = ["nodes revoke x", "rollout pause last", "rollout rollback last", "experiments allocate x", "accountant x"]


@pytest.mark.parametrize("words", [*LOOKS, "watch", "business ls", "dashboard", "dashboard users ls", *CHANGES])
def test_a_mistyped_home_is_named_and_never_made(tmp_path: Path, words: str) -> None:
    home = tmp_path / "hme"
    done = call(*words.split(), "--home", str(home))
    assert done.exit_code == 1, done.output
    assert str(home) in done.stderr
    assert "fix: name its folder with --home" in done.stderr
    assert not home.exists()


@pytest.mark.parametrize("environment", ["", "elsewhere"])
def test_a_home_that_is_typed_for_the_dashboard_is_its_users_home(tmp_path: Path, environment: str) -> None:
    (tmp_path / "home").mkdir()
    word, others = tmp_path / "word", {"HOME": str(tmp_path), "EDGE_COORDINATOR_HOME": environment or None}
    word.write_text("a word of twelve letters\n")
    given = ["dashboard", "--home", str(tmp_path / "home"), "users"]
    added = CliRunner().invoke(
        main, [*given, "add", "ann", "--role", "viewer", "--password-file", str(word)], env=others
    )
    assert added.exit_code == 0, added.output
    assert "ann" in CliRunner().invoke(main, [*given, "ls"], env=others).output
    assert not (tmp_path / ".edgeward").exists()
    own = CliRunner().invoke(main, [*given, "ls", "--home", str(tmp_path / "other")], env=others)
    assert str(tmp_path / "other") in own.stderr, "what is typed for the command itself counts before"


def test_a_device_is_enrolled_once_and_revoked_for_good(place: Coordinator, tmp_path: Path) -> None:
    device = Device("cli-home", tmp_path / "device")
    device.make_key()
    words = ["nodes", "enrol", device.name, "--public-key", str(device.public), "--home", str(place.home)]
    first = call(*words, "--json")
    assert first.exit_code == 0, first.output
    assert json.loads(call(*words, "--json").output) == json.loads(first.output), "the same again changes nothing"
    device.make_key()
    other = call(*words)
    assert other.exit_code == 2
    assert "another key" in other.stderr
    assert call("nodes", "revoke", device.name, "--home", str(place.home)).exit_code == 0
    listed = json.loads(call("nodes", "ls", "--home", str(place.home), "--json").output)
    assert {row["device"]: row["revoked"] for row in listed}[device.name] is True


@pytest.mark.parametrize(
    "content", ["", "ssh-rsa AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_a_file_that_is_no_key_is_named(place: Coordinator, tmp_path: Path, content: str) -> None:
    path = tmp_path / "node.pub"
    path.write_text(content)
    done = call("nodes", "enrol", "home-x", "--public-key", str(path), "--home", str(place.home))
    assert done.exit_code == 2
    assert str(path) in done.stderr
    assert "edge-agent keys new" in done.stderr


def test_what_is_not_published_cannot_be_deployed_or_trained(place: Coordinator) -> None:
    for words in (["deploy", "context", "9.9.9"], ["train", "nothing"]):
        done = call(*words, "--home", str(place.home))
        assert done.exit_code == 2
        assert "CRD105" in done.stderr


def test_a_version_is_published_once(place: Coordinator) -> None:
    done = call("registry", "publish", str(CONTEXT), "--home", str(place.home))
    assert done.exit_code == 1
    assert "CRD301" in done.stderr
    listed = json.loads(call("registry", "ls", "--home", str(place.home), "--json").output)
    assert ("context", "1.0.0") in {(row["bundle"], row["version"]) for row in listed}


def _until(ready: "list[Path]", process: "subprocess.Popen[str]", seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not all(path.exists() for path in ready):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def started(tmp_path: Path) -> "Iterator[tuple[subprocess.Popen[str], Path]]":
    home, ready = tmp_path / "home", tmp_path / "ready"
    process = subprocess.Popen(
        [SCRIPT, "up", "--home", str(home), "--ready-file", str(ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _until([ready], process)
        yield process, home
    finally:
        process.kill()
        process.communicate()


def _children_of(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found += [int(folder.name), *_children_of(int(folder.name))]
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_starts_everything_and_a_signal_stops_it_all(
    started: "tuple[subprocess.Popen[str], Path]", number: signal.Signals
) -> None:
    process, home = started
    endpoints = json.loads((home / "endpoints.json").read_text())
    names = {"broker", "registry", "superlink", "ca", "root", "control", "device_broker", "pages_broker"}
    assert set(endpoints) == names
    told = json.loads(call("status", "--home", str(home), "--json").output)
    assert told == {"endpoints": endpoints, "devices": {}}
    children = _children_of(process.pid)
    assert len(children) >= 3, "broker, SuperLink with its executor, door"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert endpoints["registry"] in out
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert (home / "keys" / "ca.key").stat().st_mode & 0o077 == 0


def test_a_second_coordinator_in_the_same_home_is_refused(started: "tuple[subprocess.Popen[str], Path]") -> None:
    process, home = started
    second = subprocess.run(
        [SCRIPT, "up", "--home", str(home)], capture_output=True, text=True, timeout=20, check=False
    )
    assert second.returncode == 1
    assert "[CRD108]" in second.stderr
    assert str(process.pid) in second.stderr
    assert process.poll() is None


def test_a_restart_keeps_addresses_devices_and_what_is_wanted_of_them(
    started: "tuple[subprocess.Popen[str], Path]", tmp_path: Path
) -> None:
    process, home = started
    before = json.loads((home / "endpoints.json").read_text())
    device = Device("kept", tmp_path / "kept")
    device.make_key()
    assert call("registry", "publish", str(CONTEXT), "--home", str(home)).exit_code == 0
    assert call("nodes", "enrol", "kept", "--public-key", str(device.public), "--home", str(home)).exit_code == 0
    assert call("deploy", "context", "1.0.0", "--home", str(home)).exit_code == 0
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    ready = tmp_path / "ready-again"
    again = subprocess.Popen([SCRIPT, "up", "--home", str(home), "--ready-file", str(ready)], stdout=subprocess.DEVNULL)
    try:
        _until([ready], again)
        after = json.loads((home / "endpoints.json").read_text())
        assert {name: after[name] for name in ("broker", "registry", "superlink", "ca", "root")} == {
            name: before[name] for name in ("broker", "registry", "superlink", "ca", "root")
        }
        assert _wanted(after["broker"], "kept").bundles == {"context": "1.0.0"}
        offer = RoundOffer(
            run="1", bundle="context", version="1.0.0", superlink=after["superlink"], app_hash="", closes_ms=1
        )
        device.live_through(5, seed=0)
        said = run_learner(device.task(offer, after["ca"]))
        assert said.ended is not None
        assert "ended after 0 rounds" in said.ended.reason, "the SuperLink still knows its key"
    finally:
        again.terminate()
        again.wait(20)


def _wanted(broker: str, device: str) -> Desired:
    """What a device would find retained on the broker."""
    where = urlsplit(broker)
    message = subscribe.simple(
        Topics(device).of("desired"),
        qos=1,
        hostname=where.hostname or "",
        port=where.port or 0,
        protocol=MQTTProtocolVersion.MQTTv5,
    )
    return msgspec.msgpack.decode(message.payload, type=Desired)


def test_a_coordinator_that_is_killed_leaves_nothing_running(started: "tuple[subprocess.Popen[str], Path]") -> None:
    process, home = started
    held = [int(word) for word in (home / "up.lock").read_text().split()]
    assert len(held) == 4  # itself, the SuperLink, the doors of the registry and of the embedded broker
    process.kill()
    process.wait(20)
    deadline = time.monotonic() + 20
    while (left := [pid for pid in held if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
