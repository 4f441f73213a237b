"""`status` of a running agent, of one without a broker, and of one that is gone."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from coordinator.shell.broker import free_port
from edge_agent.errors import StoreUnavailable
from edge_agent.shell.status import Disk, Report, Round, in_words, read
from edge_agent.shell.vitals import LineVitals, Porthole, StoreVitals, Vitals, ask
from tests.benchmarks.load import DEVICE, Driver, agent_command, broker, process, wait_for, write_agent
from tests.edge_agent.shell.test_run import command

ROOT = Path(__file__).parents[3]


def test_a_running_agent_tells_how_it_is_and_a_stopped_one_what_it_committed(tmp_path: Path) -> None:
    state, log = tmp_path / "a" / "state", tmp_path / "log"
    with (
        broker("iotcore", tmp_path) as port,
        process(*agent_command(write_agent(tmp_path / "a", port)), log=log) as running,
    ):
        driver = Driver(port, "driver")
        driver.listen(f"edgeward/1/{DEVICE}/decision/#")
        driver.warm(f"bench/{DEVICE}/in")
        found = json.loads(command("status", "--state-dir", state, "--json").stdout)
        live = found["live"]
        assert (found["running"], live["pid"], live["device"]) == (True, running.pid, DEVICE)
        assert (live["line"]["state"], live["line"]["code"]) == ("up", "")
        assert found["counters"]["decisions"] >= 1
        assert found["bundles"]["context"] == "1.0.0"
        assert live["memory_mib"] > 10
        words = command("status", "--state-dir", state, "--alive")
        assert words.returncode == 0
        assert f"process {running.pid}" in words.stdout
        driver.close()
    gone = command("status", "--state-dir", state, "--json", "--alive")
    assert gone.returncode == 1
    after = json.loads(gone.stdout)
    assert (after["running"], after["live"]) == (False, None)
    assert after["counters"]["decisions"] >= found["counters"]["decisions"]
    assert after["rows"]["decision"] == after["counters"]["decisions"]
    assert not (state / "agent.sock").exists()


def test_without_a_broker_it_says_why_and_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with process(*agent_command(write_agent(tmp_path / "a", free_port())), log=log):
        wait_for(lambda: "nothing listens there" in log.read_text(), "the reason")
        found = read(tmp_path / "a" / "state")
        assert found.live is not None
        assert found.live.line.state != "up"
        assert found.live.line.code == "AGT601"
        words = "\n".join(in_words(found))
        assert "nothing listens there" in words
        assert "fix: start the broker" in words


def test_a_second_agent_on_the_same_folder_is_refused_by_name(tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = write_agent(tmp_path / "a", free_port())
    with process(*agent_command(settings), log=log) as running:
        wait_for(lambda: ask(tmp_path / "a" / "state") is not None, "the agent")
        second = command("run", "--settings", settings)
        assert second.returncode == 1
        assert f"in use by another agent (process {running.pid})" in second.stderr
        assert running.poll() is None


def test_a_socket_that_a_killed_agent_left_behind_is_taken_over(tmp_path: Path) -> None:
    first = Porthole(tmp_path)
    first._socket.close()  # as a kill would: the file stays
    assert (tmp_path / "agent.sock").exists()
    second = Porthole(tmp_path)
    assert second.descriptor >= 0
    second.close()


def test_a_folder_that_takes_no_socket_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "agent.sock").mkdir()
    (tmp_path / "agent.sock" / "x").touch()
    porthole = Porthole(tmp_path)
    assert porthole.descriptor == -1
    porthole.close()


def test_a_path_longer_than_a_socket_address_is_fine(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    porthole = Porthole(deep)
    assert porthole.descriptor >= 0
    porthole.close()


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is no"):
        read(tmp_path)


def test_every_key_is_documented() -> None:
    told = set(re.findall(r"^\| `([\w.]+)`", (ROOT / "docs" / "operations.md").read_text(), flags=re.MULTILINE))
    keys = {
        prefix + field.name
        for prefix, kind in [
            ("", Report), ("round.", Round), ("disk.", Disk), ("live.", Vitals), ("live.line.", LineVitals),
            ("live.store.", StoreVitals),
        ]
        for field in msgspec.structs.fields(kind)
    }  # fmt: skip
    assert keys - told == set()
