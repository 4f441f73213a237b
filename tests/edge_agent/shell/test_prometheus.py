"""A real agent on a real broker, read as Prometheus reads it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from coordinator.shell.broker import free_port
from edge_agent.commands.group import main
from edge_agent.families import BY_NAME, FAMILIES
from edge_agent.families import FAMILIES as WRITTEN
from edge_agent.shell import exposition
from edge_agent.shell.exposition import Agent
from edge_agent.shell.scraped import address, serve
from edge_agent.shell.vitals import Vitals, ask
from edge_agent.timings import STAGES
from firmware_configs import families
from firmware_configs.errors import UsageError
from firmware_configs.loader import parse
from firmware_configs.messages import DecisionMade
from tests.benchmarks.load import DEVICE, PROFILE, READING, agent_command, broker, process, wait_for, write_agent
from tests.edge_agent.shell.test_run import Ear, tell

WATCHED = (
    PROFILE.replace('event_id = "id"', 'event_id = "id"\nsubject = "who"').replace(
        'fallback = "off"', 'fallback = "off"\nreward = [{ outcome = "kept", value = 1.0 }]'
    )
    + """
[[egress]]
kind = "rejection"
purposes = ["bench"]
bytes_day_max = 1_000_000
[[egress]]
kind = "alert"
purposes = ["bench"]
bytes_day_max = 1_000_000
[[objective]]
name = "quick"
indicator = "latency"
placement = "presence"
"""
)
SECRETS = ("Zoe-Marker", "marker-event", "4711.25", "marker-outcome", "marker-topic")
"""What came in messages; none of it may be told."""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an agent that has decided, rejected and learned an outcome."""
    folder = tmp_path_factory.mktemp("told")
    with broker("iotcore", folder) as port, process(*agent_command(write_agent(folder / "a", port, WATCHED))):
        ear = Ear(port, "edgeward/1/+/decision/#", "edgeward/1/+/rejected")
        found = folder / "a" / "state"
        wait_for(lambda: (v := ask(found)) is not None and v.line.state == "up", "the agent")
        for n in range(20):
            tell(port, {"id": f"marker-event-{n}", "who": "Zoe-Marker", **READING, "light": 4711.25})
        tell(port, b"{marker-payload")
        tell(port, {"id": "marker-event-0", "who": "Zoe-Marker", **READING})
        wait_for(lambda: ear.count("decision") == 20 and ear.count("rejected") == 1, "the decisions")
        made = msgspec.msgpack.decode(next(p for t, p in ear.heard if "decision" in t), type=DecisionMade)
        for outcome in ("kept", "marker-outcome"):
            tell(port, {"decision_id": made.id, "outcome": outcome}, f"edgeward/1/{DEVICE}/feedback")
        wait_for(lambda: (v := ask(found)) is not None and v.counters.get("feedback") == 2, "the feedback")
        ear.close()
        yield found


@pytest.fixture(scope="module")
def told(state: Path) -> list[Metric]:
    """What a scrape reads."""
    return list(text_string_to_metric_families(exposition.text(state)))


def _value(told: list[Metric], name: str, **labels: str) -> float:
    return sum(
        s.value for metric in told for s in metric.samples if s.name == name and labels.items() <= s.labels.items()
    )


def test_what_was_done_is_counted(told: list[Metric]) -> None:
    assert _value(told, "edgeward_up") == 1
    assert _value(told, "edgeward_line_up") == 1
    assert _value(told, "edgeward_events_total") == 22
    assert _value(told, "edgeward_decisions_total", placement="presence") == 20
    assert _value(told, "edgeward_counted_total", what="duplicates") == 1
    assert _value(told, "edgeward_egress_bytes_total", kind="decision") > 1_000
    assert _value(told, "edgeward_objective_events", objective="quick") >= 0
    codes = {s.labels["code"] for m in told for s in m.samples if s.name == "edgeward_events_rejected_total"}
    assert len(codes) == 2
    assert all(code.startswith("AGT") for code in codes), "a payload that is none, an outcome that is none"


def test_each_stage_has_a_histogram_that_rises_to_its_count(told: list[Metric]) -> None:
    for stage in STAGES:
        buckets = [
            (float(s.labels["le"]), s.value)
            for m in told
            for s in m.samples
            if s.name == "edgeward_stage_seconds_bucket" and s.labels["stage"] == stage
        ]
        counts = [count for _, count in sorted(buckets)]
        assert counts == sorted(counts)
        assert counts[-1] == _value(told, "edgeward_stage_seconds_count", stage=stage) > 0, stage
        assert 0 < _value(told, "edgeward_stage_seconds_sum", stage=stage) < 20


def test_lags_are_told_from_signal_arrival_and_to_the_outcome(told: list[Metric]) -> None:
    for lag, count in (("signal_to_decision", 20), ("arrival_to_decision", 20), ("decision_to_outcome", 1)):
        assert _value(told, f"edgeward_{lag}_seconds_count", placement="presence") == count
        assert _value(told, f"edgeward_{lag}_seconds_bucket", placement="presence", le="+Inf") == count


def test_every_family_is_in_the_table_with_its_labels_and_kind(told: list[Metric]) -> None:
    for metric in told:
        family = BY_NAME.get(metric.name) or BY_NAME[f"{metric.name}_total"]
        assert metric.type == family.kind
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == set(family.labels), sample


def test_nothing_that_came_in_a_message_is_in_a_label(told: list[Metric]) -> None:
    profile = parse(WATCHED).profile
    names = {profile.name, *(e.kind for e in profile.egress), *STAGES}
    for group in (profile.source, profile.placement, profile.model, profile.objective):
        names |= {one.name for one in group}
    words = {"model", "good", "bad", "ended", "failed", "latency", "active", "default", "rules", "cached"}
    free = {"device", "version", "profile", "profile_hash", "le", "window", "code", "what"}
    for metric in told:
        for sample in metric.samples:
            for label, value in sample.labels.items():
                assert not any(secret.lower() in value.lower() for secret in SECRETS), sample
                assert label in free or value in names | words, (label, value)


def test_counters_whose_names_are_no_plain_words_are_not_told(state: Path) -> None:
    vitals = ask(state)
    assert vitals is not None
    odd = msgspec.structs.replace(
        vitals, counters={"late.a b": 1, "x\x00": 2, "": 3, "late.room": 4, "late.room.x": 5, "rounds.x.y": 6}
    )

    def answer(_: Path) -> Vitals:
        return odd

    seen = [s for m in Agent(state, answer).collect() for s in m.samples if "late" in m.name or "counted" in m.name]
    assert [(s.labels, s.value) for s in seen] == [({"source": "room"}, 4), ({"what": "late.room.x"}, 5)]


def test_a_file_for_the_textfile_collector_is_whole(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "edgeward.prom"
    done = CliRunner().invoke(main, ["prometheus", "--state-dir", str(state), "--textfile", str(path)])
    assert done.exit_code == 0, done.output
    assert _value(list(text_string_to_metric_families(path.read_text())), "edgeward_events_total") == 22
    assert list(tmp_path.iterdir()) == [path]
    gone = CliRunner().invoke(main, ["prometheus", "--state-dir", str(state), "--textfile", str(tmp_path / "no" / "x")])
    assert gone.exit_code == 2
    assert "fix:" in gone.output


def test_prometheus_reads_it_at_a_port(state: Path) -> None:
    port = free_port()
    program = (sys.executable, "-m", "edge_agent.cli", "prometheus", "--state-dir", str(state))
    with process(*program, "--listen", f"127.0.0.1:{port}") as running:

        def read() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                return str(page.read().decode())

        def answers() -> bool:
            try:
                return bool(read())
            except OSError:
                return False

        wait_for(answers, "the endpoint")
        assert "edgeward_up 1.0" in read()
        with pytest.raises(UsageError, match="in use"):
            serve(state, f"127.0.0.1:{port}", print)
        running.terminate()
        assert running.wait(5) == 0


def test_without_an_agent_it_says_so(tmp_path: Path) -> None:
    assert exposition.text(tmp_path).splitlines()[-1] == "edgeward_up 0.0"
    done = CliRunner().invoke(main, ["prometheus", "--state-dir", str(tmp_path)])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "edgeward_up 0.0"), "stdout is the exposition alone"
    assert done.stderr.startswith(f"no agent answers in {tmp_path}")


def test_at_a_port_silence_is_said_once_before_anybody_reads(tmp_path: Path) -> None:
    port = free_port()
    program = (sys.executable, "-m", "edge_agent.cli", "prometheus", "--state-dir", str(tmp_path))
    running = subprocess.Popen([*program, "--listen", f"127.0.0.1:{port}"], stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    with running:
        assert running.stderr.readline().startswith(f"no agent answers in {tmp_path}")
        for _ in range(2):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                assert "edgeward_up 0.0" in page.read().decode()
        running.terminate()
        assert running.stderr.read() == ""


def test_silence_is_said_once_and_so_is_its_end(state: Path) -> None:
    said: list[str] = []
    answers = iter([None, None, ask(state), ask(state), None])
    agent = Agent(state, lambda _: next(answers), said.append)
    for _ in range(5):
        list(agent.collect())
    assert [text.split(" answers")[0] for text in said] == ["no agent", "the agent", "no agent"]


def test_of_an_agent_that_answers_from_the_beginning_nothing_is_said(state: Path) -> None:
    said: list[str] = []
    exposition.text(state, said.append)
    assert said == []


def test_it_answers_this_machine_only_unless_somebody_answers_for_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["prometheus", "--state-dir", str(tmp_path), "--listen", "0.0.0.0:9464"])
    assert done.exit_code == 2
    assert "--beyond-this-machine" in done.output


@pytest.mark.parametrize("listen", ["9464", "localhost", ":9464", "localhost:0", "localhost:99999", "localhost:x", ""])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        address(listen)


def test_the_page_of_metrics_is_what_the_code_says() -> None:
    page = families.PAGE.read_text()
    assert families.written(page, "agent", FAMILIES) == page, "make reference"
    assert WRITTEN is FAMILIES


def test_the_agents_process_imports_nothing_that_only_telemetry_needs() -> None:
    code = (
        "import sys, json, edge_agent.shell.run, edge_agent.start\n"
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] in"
        " {'prometheus_client', 'opentelemetry', 'starlette', 'uvicorn', 'jinja2', 'google'}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
