"""One trace from the message to its decision and its feedback: through a real broker, out as OTLP, and read back."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.commands.group import main
from edge_agent.errors import TelemetryUnsent
from edge_agent.shell import spans, vitals
from edge_agent.shell.facts import Facts, ask
from edge_agent.timings import STAGES
from firmware_configs.messages import DecisionMade
from tests.benchmarks.load import DEVICE, READING, agent_command, broker, process, wait_for, write_agent
from tests.edge_agent.shell.otlp_collector import Collector, collecting
from tests.edge_agent.shell.test_prometheus import WATCHED
from tests.edge_agent.shell.test_run import Ear, command

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def _tell(port: int, topic: str, said: dict[str, Any], parent: str) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = ("traceparent", parent)
    message = {"topic": topic, "payload": json.dumps(said).encode(), "qos": 1, "properties": properties}
    publish.multiple([message], hostname="127.0.0.1", port=port, protocol=MQTTProtocolVersion.MQTTv5)


def _called(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an agent that was traced: an event from outside, its feedback, and one event that nobody traces."""
    folder = tmp_path_factory.mktemp("traced")
    with broker("iotcore", folder) as port, process(*agent_command(write_agent(folder / "a", port, WATCHED))):
        found = folder / "a" / "state"
        ear = Ear(port, "edgeward/1/+/decision/#")
        wait_for(lambda: (v := vitals.ask(found)) is not None and v.line.state == "up", "the agent")
        event = f"bench/{DEVICE}/in"
        _tell(port, event, {"id": "1", "who": "Zoe-Marker", **READING}, PARENT)
        _tell(port, event, {"id": "2", "who": "Zoe-Marker", **READING}, PARENT[:-1] + "0")
        wait_for(lambda: ear.count("decision") == 2, "the decisions")
        first = msgspec.msgpack.decode(ear.heard[0][1], type=DecisionMade)
        _tell(port, f"edgeward/1/{DEVICE}/feedback", {"decision_id": first.id, "outcome": "kept"}, first.traceparent)
        wait_for(lambda: (facts := ask(found)) is not None and len(facts.facts) == 2, "the outcome")
        ear.close()
        yield found


def _request(path: Path) -> ExportTraceServiceRequest:
    """OTLP's JSON, read by OpenTelemetry's own schema."""

    def in_base64(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                k: base64.b64encode(bytes.fromhex(v)).decode()
                if k in {"traceId", "spanId", "parentSpanId"}
                else in_base64(v)
                for k, v in value.items()
            }
        return [in_base64(one) for one in value] if isinstance(value, list) else value

    text = json.dumps(in_base64(json.loads(path.read_text())))
    return Parse(text, ExportTraceServiceRequest(), ignore_unknown_fields=False)


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for r in request.resource_spans for scope in r.scope_spans for span in scope.spans]


def test_message_decision_and_feedback_are_one_trace(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    done = command("traces", "export", "--state-dir", state, "--file", path)
    assert done.returncode == 0, done.stderr
    assert "2 decisions and outcomes" in done.stdout
    found = _spans(_request(path))
    assert {span.trace_id.hex() for span in found} == {TRACE}
    decided = next(span for span in found if span.name == "decide presence")
    outcome = next(span for span in found if span.name == "outcome of presence")
    assert decided.parent_span_id.hex() == SPAN
    assert outcome.parent_span_id == decided.span_id
    stages = [span for span in found if span.parent_span_id == decided.span_id and span.name in STAGES]
    assert [span.name for span in stages] == [
        "intake", "memory", "model", "choose", "keep", "enter", "commit", "publish"
    ]  # fmt: skip
    for span in stages:
        assert decided.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= decided.end_time_unix_nano
    assert outcome.start_time_unix_nano > decided.start_time_unix_nano


def test_the_file_has_ids_in_hex_numbers_for_kinds_and_nothing_personal(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "traces.json"
    facts = ask(state)
    assert facts is not None
    spans.write(facts, path)
    told = json.loads(path.read_text())
    (resource,) = told["resourceSpans"]
    names = {one["key"]: one["value"]["stringValue"] for one in resource["resource"]["attributes"]}
    assert (names["service.name"], names["service.instance.id"]) == ("edge-agent", DEVICE)
    span = resource["scopeSpans"][0]["spans"][0]
    assert span["traceId"] == TRACE
    assert span["kind"] == 5
    keys = {one["key"] for one in span["attributes"]}
    assert keys == {
        "messaging.system", "edgeward.placement", "edgeward.trigger", "edgeward.rung", "edgeward.bundle.context"
    }  # fmt: skip
    assert "Zoe" not in path.read_text()


@pytest.fixture
def collector() -> Iterator[tuple[str, type[Collector]]]:
    with collecting() as taking:
        yield taking


def test_a_collector_takes_each_fact_once(state: Path, collector: tuple[str, type[Collector]]) -> None:
    url, kind = collector
    done = _called("traces", "export", "--state-dir", str(state), "--otlp", url)
    assert done.exit_code == 0, done.output
    assert {span.trace_id.hex() for request in kind.traces for span in _spans(request)} == {TRACE}
    sender, facts = spans.Sender(url), ask(state)
    assert facts is not None
    assert sender.send(facts, facts.facts[0].end_ns - 1) == 0, "still on its way"
    assert sender.send(facts) > 2
    assert sender.send(facts) == 0
    assert sender.send(msgspec.structs.replace(facts, pid=facts.pid + 1)) > 2, "another process numbers anew"


def test_what_a_collector_refuses_is_said_once_and_tried_again(
    state: Path, collector: tuple[str, type[Collector]]
) -> None:
    url, kind = collector
    kind.status = 400
    said: list[str] = []
    looks = iter([None, None, None])

    def wait(_seconds: float) -> None:
        if len(said) == 1 and next(looks, 0) == 0:
            kind.status = 200
        if kind.traces:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spans.follow(state, spans.Sender(url), said.append, wait=wait, wall_ns=lambda: 2**62)
    assert len(said) == 1
    assert "takes no traces" in said[0]
    assert len(kind.traces) == 1


def test_that_no_agent_answers_is_said_once_and_not_again_at_every_look(tmp_path: Path) -> None:
    said: list[str] = []
    looks = iter(range(3))

    def wait(_seconds: float) -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spans.follow(tmp_path, spans.Sender("http://127.0.0.1:1"), said.append, wait=wait)
    assert [text.split(" (")[0] for text in said] == [f"no agent answers in {tmp_path}"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "one place"),
        (("--file", "a", "--otlp", "http://127.0.0.1:1"), "one place"),
        (("--file", "a", "--follow"), "one place"),
        (("--otlp", "127.0.0.1:4318"), "no address"),
        (("--otlp", "https://example.org"), "not on this machine"),
        (("--otlp", "http://example.org", "--beyond-this-machine"), "in the clear"),
    ],
)
def test_what_cannot_be_is_refused_with_its_fix(given: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = _called("traces", "export", "--state-dir", str(tmp_path), *given)
    assert done.exit_code == 2
    assert said in done.output
    assert "fix:" in done.output


def test_without_an_agent_or_a_folder_it_says_so(tmp_path: Path) -> None:
    done = _called("traces", "export", "--state-dir", str(tmp_path), "--file", str(tmp_path / "x.json"))
    assert done.exit_code == 1
    assert "AGT971" in done.output
    with pytest.raises(TelemetryUnsent):
        spans.write(Facts(device="d", agent="1", pid=1, profile="p", facts=[]), tmp_path / "no" / "x.json")
