"""A running agent's measures over OTLP/HTTP: the same that Prometheus reads, under the same names.

In a process of its own, as for traces: the agent's imports nothing of OpenTelemetry.
"""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as OtlpMetric
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from edge_agent.errors import TelemetryUnsent
from edge_agent.shell import facts, vitals
from edge_agent.shell.exposition import Agent
from edge_agent.shell.silence import Silence
from edge_agent.shell.spans import SEND_S, SETTLED_NS, Sender
from edge_agent.shell.vitals import Vitals

EVERY_S = 15.0
UNITS = {"seconds": "s", "bytes": "By", "ratio": "1"}
"""Last word of a name → its unit as UCUM has it."""
OLDER = frozenset(
    {
        "edgeward_counted",
        "edgeward_egress_withheld",
        "edgeward_events",
        "edgeward_events_late",
        "edgeward_events_rejected",
        "edgeward_events_shed",
        "edgeward_rounds",
    }
)
"""Families that the agent stores: since when they count is not known, and OTLP writes 0 for that."""
_LAST = re.compile(r"_(seconds|bytes|ratio)(_total)?$")
Labels = tuple[tuple[str, str], ...]


def metrics_of(told: Vitals, now_ns: int) -> MetricsData:
    """All that the agent measures, as gauges, and as cumulative sums and histograms.

    Args:
        now_ns: unix ns.
    """
    began_ns = now_ns - int(told.uptime_s * 1e9)
    families = Agent(Path(), lambda _folder: told).collect()
    found = [
        one
        for family in families
        if (one := _metric(family, 0 if family.name in OLDER else began_ns, now_ns)) is not None
    ]
    resource = Resource(
        {"service.name": "edge-agent", "service.version": told.agent, "service.instance.id": told.device}
    )
    scope = ScopeMetrics(InstrumentationScope("edge_agent.shell.exposition", told.agent), found, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(family: Metric, began_ns: int, now_ns: int) -> OtlpMetric | None:
    """One family; None: it has no values now."""
    points: Gauge | Sum | Histogram
    if family.type == "histogram":
        points = Histogram(list(_histograms(family, began_ns, now_ns)), AggregationTemporality.CUMULATIVE)
    else:
        numbers = [NumberDataPoint(s.labels, began_ns, now_ns, float(s.value)) for s in family.samples]
        if family.type == "counter":
            points = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        else:
            points = Gauge(numbers)
    if not points.data_points:
        return None
    # A counter's family is named without what its sample has at the end.
    name = family.samples[0].name if family.type == "counter" else family.name
    unit = _LAST.search(name)
    return OtlpMetric(name, family.documentation, UNITS[unit[1]] if unit else "", points)


def _histograms(family: Metric, began_ns: int, now_ns: int) -> Iterator[HistogramDataPoint]:
    """Prometheus' buckets hold all that is smaller, too; OTLP's hold their own alone."""
    held: dict[Labels, list[Sample]] = {}
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        held.setdefault(labels, []).append(sample)
    for labels, samples in held.items():
        buckets = sorted((float(s.labels["le"]), float(s.value)) for s in samples if s.name == f"{family.name}_bucket")
        sums = [float(s.value) for s in samples if s.name == f"{family.name}_sum"]
        within = [count for _, count in buckets]
        yield HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=began_ns,
            time_unix_nano=now_ns,
            count=int(within[-1]),
            # Of lags no sum is kept: the field is optional, and stays empty.
            sum=sums[0] if sums else None,  # type: ignore[arg-type]
            bucket_counts=[int(now - before) for before, now in zip([0.0, *within], within, strict=False)],
            explicit_bounds=[bound for bound, _ in buckets[:-1]],
            min=None,  # type: ignore[arg-type]
            max=None,  # type: ignore[arg-type]
        )


class MetricSender:
    """Sends what the agent measures to a collector."""

    def __init__(self, url: str, ca: str | None = None) -> None:
        """Set up; nothing is sent yet.

        Args:
            url: of the collector, with or without `/v1/metrics`.
            ca: certificate (PEM) to trust instead of the system's; None: the system's.
        """
        self._url = url if url.rstrip("/").endswith("/v1/metrics") else f"{url.rstrip('/')}/v1/metrics"
        self._exporter = OTLPMetricExporter(self._url, certificate_file=ca, timeout=SEND_S)

    def send(self, told: Vitals, now_ns: int) -> int:
        """What it measures now; returns how many metrics.

        Raises:
            TelemetryUnsent: the collector does not take it.
        """
        data = metrics_of(told, now_ns)
        if self._exporter.export(data) is not MetricExportResult.SUCCESS:
            raise TelemetryUnsent(f"{self._url} takes no metrics", hint="is a collector with OTLP/HTTP there?")
        return len(data.resource_metrics[0].scope_metrics[0].metrics)


class Sent(NamedTuple):
    """What a collector took."""

    metrics: int = 0
    spans: int = 0


class Both:
    """Sends metrics and traces of one agent."""

    def __init__(self, url: str, ca: str | None = None, *, metrics: bool = True, traces: bool = True) -> None:
        """Set up; nothing is sent yet.

        Args:
            url: of the collector.
            ca: certificate (PEM) to trust instead of the system's; None: the system's.
        """
        base = url.rstrip("/")
        self._metrics = MetricSender(base, ca) if metrics else None
        self._traces = Sender(base, ca) if traces else None

    def send(self, state_dir: Path, *, now_ns: int | None = None, settled: bool = False) -> Sent | None:
        """What there is now; None: no agent answers.

        Args:
            now_ns: unix ns; None: now.
            settled: leave decisions that may still be on their way for the next time.
        Raises:
            TelemetryUnsent: the collector does not take it.
        """
        now_ns = time.time_ns() if now_ns is None else now_ns
        measured, spans = 0, 0
        if self._metrics is not None:
            if (told := vitals.ask(state_dir)) is None:
                return None
            measured = self._metrics.send(told, now_ns)
        if self._traces is not None:
            if (found := facts.ask(state_dir)) is None:
                return None
            spans = self._traces.send(found, now_ns - SETTLED_NS if settled else None)
        return Sent(measured, spans)


def follow(
    state_dir: Path,
    both: Both,
    say: Callable[[str], None],
    every_s: float = EVERY_S,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Send what there is, again and again, until Ctrl-C; a refusing collector or a silent agent is said once."""
    told, silence = "", Silence(state_dir, say)
    while True:
        try:
            silence.note(both.send(state_dir, settled=True) is not None)
            told = ""
        except TelemetryUnsent as error:
            if (text := str(error)) != told:
                say(text)
            told = text
        wait(every_s)
