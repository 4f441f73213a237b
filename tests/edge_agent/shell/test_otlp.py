"""A real agent on a real broker, whose measures a collector takes over OTLP/HTTP."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from demo.pages.house import free_port
from edge_agent.commands.group import main
from edge_agent.errors import TelemetryUnsent
from edge_agent.families import FAMILIES
from edge_agent.shell import otlp, service
from edge_agent.shell.exposition import Agent
from edge_agent.shell.vitals import ask
from tests.benchmarks.load import DEVICE, PROFILE, READING, agent_command, broker, process, wait_for, write_agent
from tests.docs.world import commands
from tests.edge_agent.shell.otlp_collector import Collector, collecting
from tests.edge_agent.shell.test_run import Ear, tell

AGENT = Path(sys.executable).with_name("edge-agent")
PAGE = Path(__file__).parents[3] / "docs" / "observability.md"
DEFAULT = "http://127.0.0.1:4318"
HEED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Runs a command that heeds Ctrl-C: a shell has its background jobs ignore it, and whoever they start does so, too."""
NOW_NS = 1_800_000_000_000_000_000


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an agent that has decided."""
    folder = tmp_path_factory.mktemp("sent")
    with broker("iotcore", folder) as port:
        path = write_agent(folder / "a", port, PROFILE)
        path.write_text(path.read_text() + "\n[telemetry]\ntrace_share = 1.0\n")
        with process(*agent_command(path)):
            ear = Ear(port, "edgeward/1/+/decision/#")
            found = folder / "a" / "state"
            wait_for(lambda: (v := ask(found)) is not None and v.line.state == "up", "the agent")
            for n in range(10):
                tell(port, {"id": f"event-{n}", **READING})
            wait_for(lambda: ear.count("decision") == 10, "the decisions")
            ear.close()
            # Told in tenths of a second: one younger than that began now.
            wait_for(lambda: (v := ask(found)) is not None and v.uptime_s > 0.0, "a tenth of a second")
            yield found


@pytest.fixture
def collector() -> Iterator[tuple[str, type[Collector]]]:
    with collecting() as taking:
        yield taking


def _called(*given: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["otlp", *given])
    return done.exit_code, done.output


def _metrics(request: ExportMetricsServiceRequest) -> dict[str, Metric]:
    return {one.name: one for r in request.resource_metrics for scope in r.scope_metrics for one in scope.metrics}


def test_a_collector_takes_metrics_and_traces_of_one_agent(state: Path, collector: tuple[str, type[Collector]]) -> None:
    url, kind = collector
    code, said = _called(url, "--state-dir", str(state), "--once")
    assert (code, "metrics" in said) == (0, True), said
    (request,) = kind.metrics
    (resource,) = request.resource_metrics
    names = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert (names["service.name"], names["service.instance.id"]) == ("edge-agent", DEVICE)
    assert len(kind.traces) == 1
    found = _metrics(request)
    assert set(found) <= {family.name for family in FAMILIES}, "docs/metrics.md has each of them"
    (made,) = found["edgeward_decisions_total"].sum.data_points
    assert made.as_double == 10
    assert {one.key: one.value.string_value for one in made.attributes} == {"placement": "presence", "rung": "model"}
    assert found["edgeward_decisions_total"].sum.is_monotonic
    assert (
        found["edgeward_decisions_total"].sum.aggregation_temporality
        == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    assert 0 < made.start_time_unix_nano < made.time_unix_nano
    (events,) = found["edgeward_events_total"].sum.data_points
    assert (events.as_double, events.start_time_unix_nano) == (10, 0), "stored: since when is not known"
    assert (found["edgeward_resident_memory_bytes"].unit, found["edgeward_stage_seconds"].unit) == ("By", "s")


def test_it_says_what_prometheus_reads(state: Path) -> None:
    told = ask(state)
    assert told is not None
    found = _metrics(encode_metrics(otlp.metrics_of(told, NOW_NS)))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Agent(state, lambda _folder: told))
    lines = list(text_string_to_metric_families(generate_latest(registry).decode()))
    for family in lines:
        for sample in family.samples:
            if family.type in {"gauge", "counter"}:
                name = sample.name
                points = found[name].gauge.data_points or found[name].sum.data_points
                labels = {
                    tuple(sorted((a.key, a.value.string_value) for a in p.attributes)): p.as_double for p in points
                }
                assert labels[tuple(sorted(sample.labels.items()))] == sample.value, name
            elif sample.name.endswith("_count"):
                points = found[family.name].histogram.data_points
                counts = {tuple(sorted((a.key, a.value.string_value) for a in p.attributes)): p for p in points}
                point = counts[tuple(sorted(sample.labels.items()))]
                assert point.count == sample.value == sum(point.bucket_counts)
                assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
                assert point.HasField("sum") == (family.name == "edgeward_stage_seconds"), "of lags no sum is kept"


def test_what_a_collector_refuses_is_said_once_and_tried_again(
    state: Path, collector: tuple[str, type[Collector]]
) -> None:
    url, kind = collector
    kind.status = 400
    said: list[str] = []
    looks: list[float] = []

    def wait(seconds: float) -> None:
        looks.append(seconds)
        kind.status = 400 if len(looks) < 3 else 200
        if kind.metrics:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        otlp.follow(state, otlp.Both(url, traces=False), said.append, 7.0, wait=wait)
    assert len(said) == 1
    assert "takes no metrics" in said[0]
    assert (set(looks), kind.traces) == ({7.0}, [])
    kind.status = 400
    with pytest.raises(TelemetryUnsent):
        otlp.Both(url).send(state)


def test_that_no_agent_answers_is_said_once_and_when_one_does(tmp_path: Path) -> None:
    said: list[str] = []
    looks: list[float] = []

    class Late(otlp.Both):
        """Has an agent from the third look on."""

        def send(self, state_dir: Path, *, now_ns: int | None = None, settled: bool = False) -> otlp.Sent | None:
            assert state_dir == tmp_path
            return super().send(tmp_path, now_ns=now_ns, settled=settled) if len(looks) < 2 else otlp.Sent()

    def wait(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        otlp.follow(tmp_path, Late("http://127.0.0.1:1"), said.append, wait=wait)
    assert [text.split(" answers in ")[0] for text in said] == ["no agent", "the agent"]
    assert all(str(tmp_path) in text for text in said)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("127.0.0.1:4318",), "no address"),
        (("http://127.0.0.1:99999",), "no address"),
        (("https://example.org",), "not on this machine"),
        (("http://example.org", "--beyond-this-machine"), "in the clear"),
    ],
)
def test_what_cannot_be_is_refused_with_its_fix(given: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, told = _called(*given, "--state-dir", str(tmp_path))
    assert code == 2
    assert said in told
    assert "fix:" in told


def test_without_an_agent_it_says_so(tmp_path: Path) -> None:
    code, told = _called("http://127.0.0.1:4318", "--once", "--state-dir", str(tmp_path))
    assert (code, "AGT971" in told) == (1, True)


def _until_stopped(command: list[str], holds: Callable[[], object], variables: Mapping[str, str]) -> int:
    """The exit code of a command that goes on until Ctrl-C, which comes once something holds."""
    going = subprocess.Popen([sys.executable, "-c", HEED, *command], env={**os.environ, **variables})
    try:
        wait_for(lambda: bool(holds()) or going.poll() is not None, " ".join(command))
        going.send_signal(signal.SIGINT)
        return going.wait(20)
    finally:
        going.kill()
        going.wait()


def test_the_unit_starts_what_sends_both(state: Path, collector: tuple[str, type[Collector]]) -> None:
    url, kind = collector
    text = service.units(str(AGENT), Path("/etc/a.toml"), "edgeward", None)[service.OTLP_NAME]
    assert f"\nEnvironment=EDGEWARD_OTLP_URL={DEFAULT}\n" in text
    (line,) = re.findall(r"^ExecStart=(.*)$", text, flags=re.MULTILINE)
    # As systemd does it: a whole word for `${NAME}`, words for `$NAME`.
    words = line.replace("${EDGEWARD_OTLP_URL}", url).replace("$EDGEWARD_OTLP_OPTIONS", "--every 1")
    command = words.replace("/var/lib/edgeward", str(state)).split()
    assert _until_stopped(command, lambda: kind.traces and len(kind.metrics) > 1, {}) == 0


def test_what_the_page_shows_works_as_it_stands(
    state: Path, collector: tuple[str, type[Collector]], tmp_path: Path
) -> None:
    """Of docs/observability.md, what is done on a device; what never ends is ended by Ctrl-C."""
    url, kind = collector
    port = free_port()
    own = {"./state": str(state), DEFAULT: url, "127.0.0.1:9464": f"127.0.0.1:{port}", "traces.json": "t.json"}
    own["/var/lib/prometheus/node-exporter"] = str(tmp_path)
    shown = [one.split("  #")[0].strip() for one in commands(PAGE.read_text()) if one.startswith("edge-agent ")]
    assert len(shown) == 7
    path = {"PATH": f"{AGENT.parent}{os.pathsep}{os.environ['PATH']}"}
    anywhere = re.compile("|".join(map(re.escape, own)))
    for command in (anywhere.sub(lambda found: own[found[0]], one) for one in shown):
        kind.metrics.clear()
        kind.traces.clear()
        if "--listen" in command:
            assert _until_stopped(command.split(), lambda: _answers(port), path) == 0, command
        elif url in command:
            assert _until_stopped(command.split(), lambda: kind.metrics or kind.traces, path) == 0, command
        else:
            done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env={**os.environ, **path}, check=False)
            assert done.returncode == 0, command
    assert "edgeward_up 1" in (tmp_path / "edgeward.prom").read_text()
    assert (tmp_path / "t.json").read_bytes().startswith(b"{")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
