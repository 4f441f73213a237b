"""Rollouts: how they stand, what their guards have said since they began, and what may be done about them."""

from collections.abc import Callable, Sequence
from typing import Any

from coordinator.dashboard.curves import Chart, Line, is_empty
from coordinator.rollout.machine import WISHED, ended
from coordinator.rollout.plan import Plan
from coordinator.shell import rollouts as told
from coordinator.shell.dashboard.asking import Ask
from coordinator.shell.rollout_store import Look, RolloutStore

LIMIT = 50
LOG_ROWS = 100
DEVICES = 200
STILL_MS = 60_000
"""A rollout that nobody has stepped for so long is carried on by nobody."""
DEEDS = ("rollback", "pause", "resume", "promote")
"""What may be asked for here; whether it can be had depends on the state."""
Curve = tuple[str, str, Callable[[dict[str, float]], float]]
CURVES: dict[str, tuple[str, tuple[Curve, ...]]] = {
    "devices": (
        "devices",
        (("failed", "", lambda e: e["failed"]), ("silent", "", lambda e: e["silent"])),
    ),
    "errors": (
        "share of decisions",
        (("failed or overran", "", lambda e: e["share"]), ("limit", "limit", lambda e: e["max"])),
    ),
    "latency": (
        "ms",
        (
            ("surely above", "", lambda e: e["low_ms"]),
            ("limit", "limit", lambda e: e["ratio_max"] * e["old_high_ms"] if e["old_high_ms"] >= 0 else float("nan")),
        ),
    ),
    "reward": (
        "change of the mean reward",
        (
            ("change", "", lambda e: e["mean"] - e["mean_old"]),
            ("surely above", "", lambda e: e["low"]),
            ("surely below", "", lambda e: e["high"]),
        ),
    ),
    "drift": (
        "share of decisions",
        (
            ("agreed", "", lambda e: e["agreed"] / e["compared"] if e["compared"] else float("nan")),
            ("limit", "limit", lambda e: e["min"]),
        ),
    ),
    "subgroup": (
        "change of the mean reward",
        (("gap", "", lambda e: e["gap"]), ("limit", "limit", lambda e: e["max"])),
    ),
}
"""Guard → its unit, and what of its evidence is drawn: name, `limit` for what must not be crossed, value."""


def rollouts(ask: Ask) -> dict[str, Any]:
    """Rollouts, newest first."""
    store = RolloutStore(ask.home)
    try:
        found = store.all()
    finally:
        store.close()
    return {"rollouts": found[:LIMIT], "more": max(0, len(found) - LIMIT)}


def rollout(ask: Ask) -> dict[str, Any]:
    """One rollout.

    Raises:
        UnknownRollout: there is none of this key.
    """
    store = RolloutStore(ask.home)
    try:
        found = store.rollout(ask.params["rollout"])
        wishes = [wish for _, wish in store.wishes(found.key)]
        looks, log = store.looks(found.key), store.log(found.key)
    finally:
        store.close()
    members = told.devices(found)
    return {
        "rollout": found,
        "told": told.summary(found),
        "wishes": wishes,
        "still_ms": 0 if ended(found) else max(0, ask.now_ms - found.now_ms) // STILL_MS * STILL_MS,
        "possible": [deed for deed in DEEDS if found.state in WISHED[deed]],
        "charts": guard_charts(found.plan, looks),
        "members": members[:DEVICES],
        "members_more": max(0, len(members) - DEVICES),
        "log": log[::-1][:LOG_ROWS],
        "log_more": max(0, len(log) - LOG_ROWS),
        "head": log[-1].hash if log else "",
    }


def guard_charts(plan: Plan, looks: Sequence[Look]) -> list[Chart]:
    """A curve for each guard that has said something; a guard with several bands of load has one chart each."""
    found = []
    for name, (unit, curves) in CURVES.items():
        bands = max((sum(one.guard == name for one in look.findings) for look in looks), default=0)
        for band in range(bands):
            lines = [
                Line(name=label, points=_points(looks, name, band, value), limit=kind == "limit")
                for label, kind, value in curves
            ]
            if name == "reward" and plan.guard.reward is not None:
                drop = -plan.guard.reward.drop_max
                lines.append(Line(name="limit", points=tuple((x, drop) for x, _ in lines[0].points), limit=True))
            title = f"{name}, band {band + 1} of load" if bands > 1 else name
            chart = Chart(title=title, x="minutes watched", y=unit, lines=tuple(lines))
            found += [] if is_empty(chart) else [chart]
    return found


def _points(
    looks: Sequence[Look], guard: str, band: int, value: Callable[[dict[str, float]], float]
) -> tuple[tuple[float, float], ...]:
    points = []
    for look in looks:
        own = [one for one in look.findings if one.guard == guard]
        if band < len(own):
            points.append((look.watched_ms / 60_000.0, value(own[band].evidence)))
    return tuple(points)
