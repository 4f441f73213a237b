"""`/metrics` at the door: the fleet, federated runs and rollouts in Prometheus' text format, read from the database.

The door stands open to devices, so this page does not: it answers this machine, and others that show the token in
the file `metrics-token` of the coordinator's home.
"""

import hmac
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from coordinator.families import BY_NAME
from coordinator.fleet.health import examine
from coordinator.rollout.state import ENDED
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.store import Store
from coordinator.shell.told import state_of

SHOWN_FILE = "metrics-token"
HERE = frozenset({"127.0.0.1", "::1"})
Labels = tuple[str, ...]


class Coordinator(Collector):
    """What a home's database tells, each time that it is asked."""

    def __init__(self, home: Path, now_ms: int) -> None:
        self._home, self._now_ms = home, now_ms

    def collect(self) -> Iterator[Metric]:
        yield _gauges("edgeward_coordinator_info", {(version("edgeward"),): 1})
        yield from _fleet(self._home, self._now_ms)
        yield from _runs(self._home)
        yield from _accounts(self._home)
        yield from _rollouts(self._home)


def text(home: Path, now_ms: int) -> bytes:
    """The exposition of a home."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Coordinator(home, now_ms))
    return bytes(generate_latest(registry))


def routes(home: Path) -> list[BaseRoute]:
    """The page, to be mounted by the door."""

    def metrics(request: Request) -> Response:
        asking = request.client.host if request.client is not None else ""
        if asking not in HERE and not _shows_token(home, request.headers.get("authorization", "")):
            return PlainTextResponse("not from there, or not without the token", status_code=403)
        return Response(text(home, int(time.time() * 1_000)), media_type=CONTENT_TYPE_LATEST)

    return [Route("/metrics", metrics)]


def _shows_token(home: Path, authorization: str) -> bool:
    try:
        token = (home / SHOWN_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return bool(token) and hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())


def _gauges(name: str, values: Mapping[Labels, float]) -> Metric:
    family = BY_NAME[name]
    metric = GaugeMetricFamily(name, family.help, labels=family.labels)
    for labels, value in sorted(values.items()):
        metric.add_metric(labels, value)
    return metric


def _counted(name: str, labels: Iterable[Labels]) -> Metric:
    return _gauges(name, Counter(labels))


def _fleet(home: Path, now_ms: int) -> Iterator[Metric]:
    store = FleetStore(home)
    views = store.views()
    there = [view for view in views if not view.revoked]
    yield _counted("edgeward_fleet_devices", [(view.presence,) for view in views])
    yield _counted("edgeward_fleet_agent_devices", [(view.agent,) for view in there if view.agent])
    yield _counted("edgeward_fleet_bundle_devices", [pair for view in there for pair in view.bundles.items()])
    found = {(one.severity, one.code, one.device) for one in examine(there, now_ms)}
    yield _counted("edgeward_fleet_findings", [(severity, code) for severity, code, _ in found])
    firing = {(a.kind, a.severity, a.device) for a in store.alerts() if a.state == "firing"}
    yield _counted("edgeward_fleet_alerts_firing", [(kind, severity) for kind, severity, _ in firing])
    heard = max((view.seen_ms for view in views), default=0)
    yield _gauges("edgeward_fleet_last_heard_timestamp_seconds", {(): heard / 1_000})


def _runs(home: Path) -> Iterator[Metric]:
    store = Store(home)
    runs = store.runs()
    states: Counter[Labels] = Counter()
    results: dict[Labels, float] = {}
    losses: dict[Labels, float] = {}
    moved: dict[Labels, float] = {}
    for run in reversed(runs):  # newest last, so that its word stands
        for row in store.rounds(run.key):
            states[run.bundle, row.state] += 1
            if row.state in {"aggregated", "accounted", "published"}:
                told = {"asked": row.asked, "used": row.reports, "refused": row.refused, "late": row.late}
                results |= {(run.bundle, result): count for result, count in told.items()}
                losses |= {(run.bundle, "before"): row.loss_before, (run.bundle, "after"): row.loss_after}
                moved |= {(run.bundle, "up"): row.bytes_up, (run.bundle, "down"): row.bytes_down}
    yield _counted("edgeward_runs", [(run.bundle, state_of(home, run)) for run in runs])
    yield _gauges("edgeward_run_rounds", states)
    yield _gauges("edgeward_round_reports", results)
    yield _gauges("edgeward_round_loss", losses)
    yield _gauges("edgeward_round_bytes", moved)


def _accounts(home: Path) -> Iterator[Metric]:
    """Without ε spent: the accountant takes a moment and much memory; `edge-coordinator accountant` tells it."""
    store = PrivacyStore(home)
    entered: dict[Labels, float] = {}
    limits: dict[Labels, float] = {}
    for bundle in sorted({run.bundle for run in Store(home).runs()}):
        for account in store.accounts(bundle):
            entered[bundle, account.population] = len(account.spent)
            limits[bundle, account.population] = account.budget.epsilon
    yield _gauges("edgeward_privacy_rounds", entered)
    yield _gauges("edgeward_privacy_epsilon_limit", limits)


def _rollouts(home: Path) -> Iterator[Metric]:
    members: Counter[Labels] = Counter()
    breached: dict[Labels, float] = {}
    with closing(RolloutStore(home)) as store:
        everything = store.all()
        for bare in everything:
            if bare.state in ENDED:
                continue
            plan = bare.plan
            members.update((plan.bundle, plan.version, m.state) for m in store.rollout(bare.key).members.values())
            for finding in bare.findings:
                at = (plan.bundle, finding.guard)
                breached[at] = max(breached.get(at, 0.0), float(finding.breached))
    yield _counted("edgeward_rollouts", [(one.plan.bundle, one.state) for one in everything])
    yield _gauges("edgeward_rollout_devices", members)
    yield _gauges("edgeward_rollout_guard_breached", breached)
