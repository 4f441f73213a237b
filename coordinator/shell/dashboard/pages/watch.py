"""What needs somebody: drift, and budgets, of privacy and of errors."""

from collections.abc import Iterable
from typing import Any

from coordinator.fleet.view import DeviceView
from coordinator.rollout.state import ENDED
from coordinator.shell import fleet_drift
from coordinator.shell.dashboard.asking import Ask
from coordinator.shell.dashboard.pages.accounts import accounts
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.told import rounds_table
from firmware_configs.histogram import Histogram, merged
from firmware_configs.messages import Alert

SHOWN = 100


def drift(ask: Ask) -> dict[str, Any]:
    """Alerts of drift detectors, what was added up over the fleet, and how far versions on trial agree with others."""
    firing, over = alerts(FleetStore(ask.home).alerts(), "drift")
    guards = _guards(ask, "drift", "subgroup")
    return {"firing": firing, "over": over[:SHOWN], "guards": guards, "fleet": fleet_drift.newest(ask.home)}


def budgets(ask: Ask) -> dict[str, Any]:
    """What is left of privacy, alerts of error budgets, decision times, failed rounds, errors of versions on trial."""
    store = FleetStore(ask.home)
    firing, over = alerts(store.alerts(), "burn-rate")
    runs = rounds_table(ask.home, lambda *_: 0.0)
    rows = [row for run in runs for row in run["rounds"] if row["state"] in {"published", "accounted", "abandoned"}]
    return {
        **accounts(ask),
        "firing": firing,
        "over": over[:SHOWN],
        "latency": latency(store.views()),
        "rounds": len(rows),
        "rounds_failed": sum(row["state"] == "abandoned" for row in rows),
        "guards": _guards(ask, "errors", "latency", "devices"),
    }


def alerts(told: Iterable[Alert], kind: str) -> tuple[list[Alert], list[Alert]]:
    """Those that fire now and those that are over, newest first, of the newest word on every alert (oldest first)."""
    held = [one for one in told if one.kind == kind][::-1]
    return [one for one in held if one.state == "firing"], [one for one in held if one.state == "resolved"]


def latency(views: Iterable[DeviceView]) -> list[dict[str, Any]]:
    """Placement → from an event's arrival to its decision, over all devices that tell it."""
    held: dict[str, list[Histogram]] = {}
    for view in views:
        times = view.status.arrival_to_decision_ms if view.status is not None else {}
        for placement, histogram in times.items():
            held.setdefault(placement, []).append(histogram)
    rows = []
    for placement, histograms in sorted(held.items()):
        whole = histograms[0]
        for one in histograms[1:]:
            whole = merged(whole, one)
        slowest = max(histograms, key=lambda one: one.p99_ms)
        rows.append(
            {"placement": placement, "devices": len(histograms), "whole": whole, "slowest_p99_ms": slowest.p99_ms}
        )
    return rows


def _guards(ask: Ask, *names: str) -> list[dict[str, Any]]:
    """What these guards of rollouts say that have not ended."""
    store = RolloutStore(ask.home)
    try:
        held = [one for one in store.all() if one.state not in ENDED]
    finally:
        store.close()
    return [
        {"rollout": one.key, "finding": finding} for one in held for finding in one.findings if finding.guard in names
    ]
