"""A running agent's measures in Prometheus' text format: asked at its socket, by another process, when somebody reads.

The agent itself never imports `prometheus_client`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from edge_agent.families import BY_NAME
from edge_agent.shell.measures import Measures
from edge_agent.shell.silence import Silence, unheard
from edge_agent.shell.vitals import Vitals, ask
from edge_agent.timings import StageTimes
from firmware_configs.histogram import BOUNDS_MS, Histogram

MIB = 1_048_576
LAG_OCTAVES = range(-3, 18)
"""Bounds of lags: 2^n ms, from 1/8 ms to 2 minutes; `status` has four for each of them."""
OUTCOME_OCTAVES = range(6, 33, 2)
"""Of what people take: from 64 ms to 50 days."""
STAGE_BITS = range(12, 33)
"""Bounds of stages: 2^n ns, from 4 µs to 4 s."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_OWN = {"rejected": 1, "late": 1, "shed": 1, "withheld": 2, "rounds": 1}
"""Heads of counters that have a family of their own → how many names follow."""


class Agent(Collector):
    """What one agent's folder tells, each time that it is asked."""

    def __init__(
        self, state_dir: Path, answer: Callable[[Path], Vitals | None] = ask, say: Callable[[str], None] = unheard
    ) -> None:
        """Nothing is asked yet.

        Args:
            say: is told once that no agent answers, and when one does.
        """
        self._state_dir, self._answer = state_dir, answer
        self._silence = Silence(state_dir, say)

    def collect(self) -> Iterator[Metric]:
        vitals = self._answer(self._state_dir)
        self._silence.note(vitals is not None)
        yield _gauge("edgeward_up", 1.0 if vitals is not None else 0.0)
        if vitals is not None:
            yield from _vital(vitals)
            yield from _counted(vitals.counters)
            yield from _lags(vitals)
            yield from _measured(vitals.measures)

    def describe(self) -> Iterator[Metric]:
        """Nothing is asked at the registration."""
        return iter(())


def text(state_dir: Path, say: Callable[[str], None] = unheard) -> str:
    """The exposition of an agent's folder; `edgeward_up 0` alone where none runs, which `say` is told."""
    return str(generate_latest(registry(state_dir, say)).decode())


def write(state_dir: Path, path: Path, say: Callable[[str], None] = unheard) -> None:
    """The same to a file of node_exporter's textfile collector, whole or not at all."""
    write_to_textfile(str(path), registry(state_dir, say))


def registry(state_dir: Path, say: Callable[[str], None] = unheard) -> CollectorRegistry:
    """Holds one agent and nothing of the process that reads; `say` is told when none answers, and when one does."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Agent(state_dir, say=say))
    return made


def _gauge(name: str, value: float, *labels: str) -> Metric:
    return _gauges(name, {labels: value})


def _gauges(name: str, values: Mapping[tuple[str, ...], float]) -> Metric:
    family = BY_NAME[name]
    metric = GaugeMetricFamily(name, family.help, labels=family.labels)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def _counter(name: str, values: Mapping[tuple[str, ...], float]) -> Metric:
    family = BY_NAME[name]
    metric = CounterMetricFamily(name, family.help, labels=family.labels)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def _vital(v: Vitals) -> Iterator[Metric]:
    info = (v.device, v.agent, v.profile, v.profile_hash[:12])
    yield _gauge("edgeward_agent_info", 1.0, *info)
    for name, value in (
        ("uptime_seconds", v.uptime_s),
        ("line_up", v.line.state == "up"),
        ("learning", v.learning),
        ("updating", v.updating),
        ("resident_memory_bytes", v.memory_mib * MIB),
        ("memory_limit_bytes", v.memory_mib_max * MIB),
        ("store_degraded", bool(v.store.degraded)),
        ("store_backlog_bytes", v.store.backlog_bytes),
        ("store_overflowing", v.store.overflowing),
        ("outbox_messages", v.measures.queues.outbox),
        ("in_flight_messages", v.measures.queues.in_flight),
        ("unacknowledged_messages", v.measures.queues.unacknowledged),
    ):
        yield _gauge(f"edgeward_{name}", float(value))
    if v.line.code:
        yield _gauge("edgeward_line_fault_info", 1.0, v.line.code)
    yield _counter("edgeward_written_bytes_total", {(): v.written_bytes})
    yield _gauges("edgeward_watermark_timestamp_seconds", {(n,): ms / 1e3 for n, ms in v.watermarks_ms.items() if ms})


def _counted(counters: Mapping[str, int]) -> Iterator[Metric]:
    """Counters by the families they belong to; a name that is not made of plain words is not told."""
    found: dict[str, dict[tuple[str, ...], float]] = {head: {} for head in _OWN}
    others: dict[tuple[str, ...], float] = {}
    for name, count in sorted(counters.items()):
        head, *rest = name.split(".")
        if not all(_PLAIN.fullmatch(part) for part in (head, *rest)) or name == "events":
            continue
        if _OWN.get(head) == len(rest):
            found[head][tuple(rest)] = count
        elif head != "rounds":
            others[(name,)] = count
    yield _counter("edgeward_events_total", {(): counters.get("events", 0)})
    yield _counter("edgeward_events_rejected_total", found["rejected"])
    yield _counter("edgeward_events_late_total", found["late"])
    yield _counter("edgeward_events_shed_total", found["shed"])
    yield _counter("edgeward_egress_withheld_total", found["withheld"])
    rounds = {("ended",): float(counters.get("rounds", 0)), ("failed",): 0.0, **found["rounds"]}
    yield _counter("edgeward_rounds_total", rounds)
    yield _counter("edgeward_counted_total", others)


def _lags(v: Vitals) -> Iterator[Metric]:
    for name, lags, octaves in (
        ("edgeward_signal_to_decision_seconds", v.signal_to_decision_ms, LAG_OCTAVES),
        ("edgeward_arrival_to_decision_seconds", v.arrival_to_decision_ms, LAG_OCTAVES),
        ("edgeward_decision_to_outcome_seconds", v.measures.decision_to_outcome_ms, OUTCOME_OCTAVES),
    ):
        family = BY_NAME[name]
        metric = HistogramMetricFamily(name, family.help, labels=family.labels)
        for placement, lag in lags.items():
            metric.add_metric((placement,), _cumulated(lag, octaves), None)
            # Sums are not kept; without one the library leaves out the count, too, which rates are made of.
            metric.samples.append(Sample(f"{name}_count", {"placement": placement}, lag.count, None, None, None))
        yield metric


def _cumulated(lag: Histogram, octaves: range) -> list[tuple[str, float]]:
    found = []
    for octave in octaves:
        bound_ms = 2.0**octave
        within = sum(count for number, count in lag.buckets.items() if BOUNDS_MS[number] <= bound_ms)
        found.append((f"{bound_ms / 1_000:g}", float(within)))
    return [*found, ("+Inf", float(lag.count))]


def _stages(stages: Mapping[str, StageTimes]) -> Metric:
    family = BY_NAME["edgeward_stage_seconds"]
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for stage, times in stages.items():
        bounds = [
            (f"{2.0**bits / 1e9:.6g}", float(sum(count for n, count in times.buckets.items() if n <= bits)))
            for bits in STAGE_BITS
        ]
        metric.add_metric((stage,), [*bounds, ("+Inf", float(times.count))], times.sum_s)
    return metric


def _measured(m: Measures) -> Iterator[Metric]:
    yield _stages(m.stages)
    made: dict[tuple[str, ...], float] = {
        (place, rung or "model"): float(n) for place, rungs in m.decisions.items() for rung, n in rungs.items()
    }
    yield _counter("edgeward_decisions_total", made)
    yield _counter("edgeward_egress_bytes_total", {(kind,): one.total_bytes for kind, one in m.egress.items()})
    yield _gauges("edgeward_egress_today_bytes", {(kind,): one.today_bytes for kind, one in m.egress.items()})
    yield _gauges("edgeward_egress_day_limit_bytes", {(kind,): one.day_bytes_max for kind, one in m.egress.items()})
    yield _gauges("edgeward_bundle_info", _running(m))
    if m.round:
        yield _gauge("edgeward_round_info", 1.0, m.round)
    goals = m.objectives
    yield _gauges("edgeward_objective_target_ratio", {(n, o.indicator): o.target for n, o in goals.items()})
    results: dict[tuple[str, ...], float] = {
        (n, r): float(getattr(o, r)) for n, o in goals.items() for r in ("good", "bad")
    }
    yield _gauges("edgeward_objective_events", results)
    yield _gauges("edgeward_objective_budget_left_ratio", {(n,): o.left for n, o in goals.items()})
    rates: dict[tuple[str, ...], float] = {
        (n, window): rate for n, o in goals.items() for window, rate in o.rates.items()
    }
    yield _gauges("edgeward_objective_burn_rate", rates)
    yield _gauges("edgeward_alert_firing", {(a.kind, a.name, a.severity): 1.0 for a in m.alerts})


def _running(m: Measures) -> dict[tuple[str, ...], float]:
    """A version on trial, and the one that serves meanwhile."""
    told: dict[tuple[str, ...], float] = {}
    for name, one in m.bundles.items():
        told[name, one.version, one.state] = 1.0
        if one.serving:
            told[name, one.serving, "active"] = 1.0
    return told
