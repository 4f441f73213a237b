"""Facts of what is traced as OpenTelemetry spans: to a file in OTLP's JSON, or to a collector over OTLP/HTTP.

In a process of its own: the agent's imports nothing of OpenTelemetry.
"""

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from edge_agent.errors import TelemetryUnsent
from edge_agent.shell.facts import Facts, ask
from edge_agent.shell.silence import Silence
from edge_agent.timings import Fact

FOLLOW_S = 5.0
SETTLED_NS = 2_000_000_000
"""A decision that is younger may still be on its way to the socket; whoever follows takes it at the next look."""
SEND_S = 10.0
_IDS = re.compile(r"^(trace|span|parentSpan)Id$")


def spans_of(facts: Facts) -> list[ReadableSpan]:
    """A span for each decision and outcome, and one under it for each stage."""
    resource = Resource(
        {"service.name": "edge-agent", "service.version": facts.agent, "service.instance.id": facts.device}
    )
    scope = InstrumentationScope("edge_agent.timings", facts.agent)
    return [span for fact in facts.facts for span in _spans(fact, resource, scope)]


def _spans(fact: Fact, resource: Resource, scope: InstrumentationScope) -> Iterator[ReadableSpan]:
    context = _context(fact.trace, fact.span)
    verb = "decide" if fact.kind == "decision" else "outcome of"
    yield ReadableSpan(
        f"{verb} {fact.placement}",
        context=context,
        parent=_context(fact.trace, fact.parent, remote=True) if fact.parent else None,
        resource=resource,
        attributes=_attributes(fact),
        links=[Link(_context(*fact.link.split("-"), remote=True))] if fact.link else [],
        kind=SpanKind.CONSUMER,
        start_time=fact.start_ns,
        end_time=fact.end_ns,
        instrumentation_scope=scope,
    )
    for n, lap in enumerate(fact.laps):
        own = hashlib.sha256(f"{fact.span}:{n}:{lap.stage}".encode()).hexdigest()[:16]
        yield ReadableSpan(
            lap.stage,
            context=_context(fact.trace, own),
            parent=context,
            resource=resource,
            kind=SpanKind.INTERNAL,
            start_time=fact.start_ns + lap.offset_ns,
            end_time=fact.start_ns + lap.offset_ns + lap.ns,
            instrumentation_scope=scope,
        )


def _attributes(fact: Fact) -> dict[str, str]:
    told = {"messaging.system": "mqtt", "edgeward.placement": fact.placement, "edgeward.trigger": fact.trigger}
    if fact.kind == "decision":
        told["edgeward.rung"] = fact.rung or "model"
    return told | {f"edgeward.bundle.{name}": version for name, version in fact.bundles.items()}


def _context(trace: str, span: str, *, remote: bool = False) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def as_json(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """An ExportTraceServiceRequest in OTLP's JSON: as protobuf's, but for ids in hex and enumerations as numbers.

    Source: https://opentelemetry.io/docs/specs/otlp/, "JSON Protobuf Encoding".
    """
    plain: dict[str, Any] = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    return _in_hex(plain)  # type: ignore[no-any-return]


def _in_hex(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: base64.b64decode(held).hex() if _IDS.match(key) and isinstance(held, str) else _in_hex(held)
            for key, held in value.items()
        }
    return [_in_hex(one) for one in value] if isinstance(value, list) else value


def write(facts: Facts, path: Path) -> int:
    """All that the agent remembers, as a file that Jaeger's page opens; returns how many spans.

    Raises:
        TelemetryUnsent: it cannot be written there.
    """
    spans = spans_of(facts)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(as_json(spans)) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise TelemetryUnsent(f"{path}: {error.strerror}", hint="name a file in a folder that exists") from None
    return len(spans)


class Sender:
    """Sends each fact once to a collector."""

    def __init__(self, url: str, ca: str | None = None) -> None:
        """Set up; nothing is sent yet.

        Args:
            url: of the collector, with or without `/v1/traces`.
            ca: certificate (PEM) to trust instead of the system's; None: the system's.
        """
        self._url = url if url.rstrip("/").endswith("/v1/traces") else f"{url.rstrip('/')}/v1/traces"
        self._exporter = OTLPSpanExporter(self._url, certificate_file=ca, timeout=SEND_S)
        self._sent = (0, 0)
        """Process and number of the newest fact that was sent."""

    def send(self, facts: Facts, before_ns: int | None = None) -> int:
        """What is new; returns how many spans.

        Args:
            before_ns: unix ns; what ended later is left for the next time. None: everything.
        Raises:
            TelemetryUnsent: the collector does not take it; nothing is counted as sent.
        """
        newest = self._sent[1] if self._sent[0] == facts.pid else 0
        fresh = []
        for fact in facts.facts:
            if fact.number <= newest:
                continue
            if before_ns is not None and fact.end_ns > before_ns:
                break
            fresh.append(fact)
        if not fresh:
            return 0
        spans = spans_of(msgspec.structs.replace(facts, facts=fresh))
        if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise TelemetryUnsent(f"{self._url} takes no traces", hint="is a collector with OTLP/HTTP there?")
        self._sent = (facts.pid, fresh[-1].number)
        return len(spans)


def follow(
    state_dir: Path,
    sender: Sender,
    say: Callable[[str], None],
    *,
    wait: Callable[[float], None] = time.sleep,
    wall_ns: Callable[[], int] = time.time_ns,
) -> None:
    """Send what is new, again and again, until Ctrl-C; what a collector does not take is tried again.

    The agent remembers a thousand facts: what is more than that between two looks is lost, and said. That no agent
    answers is said once.
    """
    told, silence = "", Silence(state_dir, say)
    while True:
        try:
            facts = ask(state_dir)
            silence.note(facts is not None)
            if facts is not None:
                sender.send(facts, wall_ns() - SETTLED_NS)
            told = ""
        except TelemetryUnsent as error:
            if (text := str(error)) != told:
                say(text)
            told = text
        wait(FOLLOW_S)
