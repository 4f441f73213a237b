"""Hot swap with real processes: an operator's wish, every stage, and kill -9 in each of them."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.happenings import BundleAsked
from edge_agent.shell import inspect, wish
from firmware_configs.messages import DecisionMade
from tests.benchmarks.load import PROFILE, READING, agent_command, broker, process, wait_for, write_agent
from tests.edge_agent.shell.test_run import Ear, command, tell
from tests.edge_agent.trial_house import folder

NEW = "1.0.1"
SWAP = """swap = { shadow_decisions = 30, canary_share = 0.5, canary_decisions = 15, watched_decisions = 15 }
[[placement]]"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[int]:
    with broker("iotcore", tmp_path) as port:
        yield port


class Device:
    """One agent on a broker, that can be killed and started again."""

    def __init__(self, folder_: Path, port: int) -> None:
        self.settings = write_agent(folder_, port, PROFILE.replace("[[placement]]", SWAP))
        self.settings.write_text("record = true\n" + self.settings.read_text())
        self.state, self.log, self.port, self.sent = folder_ / "state", folder_ / "log", port, 0
        self.starts = 0
        (self.state / "bundles").mkdir(parents=True)
        name = f"context-{NEW}.edgeward"
        (self.state / "bundles" / name).write_bytes((folder() / name).read_bytes())
        self.ear = Ear(port, "edgeward/1/+/decision/#")

    def started(self) -> Any:
        self.starts += 1
        return process(*agent_command(self.settings), log=self.log)

    def ready(self) -> None:
        wait_for(lambda: self.log.read_text().count(" connected ") >= self.starts, "the line")

    def decide(self, count: int) -> None:
        """So many readings, until all are decided."""
        for _ in range(count):
            tell(self.port, {"id": f"r{self.sent}", **READING, "light": 400.0 + self.sent})
            self.sent += 1
        wait_for(lambda: len(self.made()) >= self.sent, "the decisions")

    def made(self) -> dict[str, DecisionMade]:
        found = (msgspec.msgpack.decode(p, type=DecisionMade) for t, p in list(self.ear.heard) if "/decision/" in t)
        return {one.id: one for one in found}

    def bundles(self, *words: str) -> Any:
        done = command("bundles", *words, "--state-dir", self.state, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stage(self) -> str:
        one = inspect.bundles(self.state)["context"]
        return one["trial"]["stage"] if one["trial"] else f"{one['active']} kept"


def kill(running: "subprocess.Popen[bytes]") -> None:
    running.send_signal(signal.SIGKILL)
    running.wait()


def test_a_swap_survives_kill_nine_in_every_stage_and_replays(tmp_path: Path, line: int) -> None:
    device = Device(tmp_path / "a", line)
    seen: list[str] = []
    with device.started() as running:
        device.ready()
        device.decide(1)
        assert device.bundles("use", "context", NEW, "--rollout", "shadow")["taken"]
        wait_for(lambda: device.stage() == "shadow", "the trial")
        device.decide(5)
        seen.append(device.stage())
        kill(running)
    for _ in range(12):
        with device.started() as running:
            device.ready()
            device.decide(10)
            seen.append(device.stage())
            kill(running)
        if seen[-1] == f"{NEW} kept":
            break
    assert list(dict.fromkeys(seen)) == ["shadow", "canary", "full", f"{NEW} kept"], seen
    served = [one.bundles["context"] for one in device.made().values()]
    assert set(served[:6]) == {"1.0.0"}
    assert set(served[-5:]) == {NEW}
    assert len(served) == device.sent
    device.ear.close()
    replayed = command("replay", "--settings", device.settings, "--json")
    assert replayed.returncode == 0, replayed.stdout
    assert json.loads(replayed.stdout)["decisions"] == device.sent


def test_an_operator_lists_uses_and_gives_back_and_is_told_what_is_not_there(tmp_path: Path, line: int) -> None:
    device = Device(tmp_path / "a", line)
    with device.started():
        device.ready()
        device.decide(1)
        assert device.bundles("ls")["context"]["held"] == [NEW, "1.0.0"]
        assert device.bundles("use", "context", NEW)["taken"]
        wait_for(lambda: device.bundles("ls")["context"]["active"] == NEW, "the swap")
        device.decide(1)
        device.bundles("return", "context")
        wait_for(lambda: device.bundles("ls")["context"]["active"] == "1.0.0", "the way back")
        device.decide(1)
        assert "operator" in device.bundles("ls")["context"]["refused"][NEW]
    assert [one.bundles["context"] for one in device.made().values()] == ["1.0.0", NEW, "1.0.0"]
    device.ear.close()
    (device.state / "bundles" / "context-1.0.5.edgeward").write_bytes(b"torn")
    for words, names in (
        (("use", "context", "9.0.0"), "does not hold"),
        (("return", "nobody"), "no bundle `nobody`"),
        (("use", "context", "1.0.5"), "not a readable archive"),
    ):
        ended = command("bundles", *words, "--state-dir", device.state)
        assert ended.returncode == 1
        assert names in ended.stderr
        assert "fix:" in ended.stderr
    assert "1.0.0 serves" in command("bundles", "ls", "--state-dir", device.state).stdout


def test_a_wish_that_is_left_while_no_agent_runs_is_taken_up_at_the_start(tmp_path: Path, line: int) -> None:
    device = Device(tmp_path / "a", line)
    with device.started():
        device.ready()
        device.decide(1)
    assert not device.bundles("use", "context", NEW)["taken"]
    with device.started():
        device.ready()
        wait_for(lambda: device.bundles("ls")["context"]["active"] == NEW, "the swap")
        device.decide(1)
    assert [one.bundles["context"] for one in device.made().values()] == ["1.0.0", NEW]
    (device.state / "wish.json").write_bytes(b'{"name": 3')
    with device.started():
        device.ready()
        device.decide(1)
        wait_for(lambda: not (device.state / "wish.json").exists(), "the broken wish to go")
    device.ear.close()


@given(st.binary(max_size=200) | st.builds(msgspec.json.encode, st.dictionaries(st.text(), st.text())))
@settings(max_examples=60, deadline=None)
def test_a_wish_of_any_bytes_is_read_or_removed(raw: bytes) -> None:
    with TemporaryDirectory() as folder_:
        path = Path(folder_) / wish.FILE
        path.write_bytes(raw)
        asked = wish.read(Path(folder_))
        assert path.exists() == (asked is not None)
        if asked is not None:
            wish.granted(Path(folder_), asked)
            assert not path.exists()


def test_a_wish_that_came_in_the_meantime_stays(tmp_path: Path) -> None:
    first, second = BundleAsked(name="context", version="1.0.0"), BundleAsked(name="context", version=NEW)
    wish.leave(tmp_path, first)
    read = wish.read(tmp_path)
    wish.leave(tmp_path, second)
    assert read == first
    wish.granted(tmp_path, first)
    assert wish.read(tmp_path) == second
