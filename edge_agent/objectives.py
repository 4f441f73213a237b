"""The profile's objectives, looked at once a minute: what was good, what was bad, and how fast the budget burns.

Nothing is counted for them while events run through: they read what is counted anyway.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from edge_agent.alerts import Finding
from edge_agent.batch import Batch
from edge_agent.burn import WINDOWS, Burning, ErrorBudget
from edge_agent.limits import DAY_MS
from firmware_configs.histogram import BOUNDS_MS, Histogram, bucket_of
from firmware_configs.profile import Objective

if TYPE_CHECKING:
    from edge_agent.agent import Agent

LOOK_MS = 60_000
STORE_MS = 300_000
"""How often what was counted is stored: a crash forgets no more than this, and flash is spared."""
PREFIX = "burn:"
"""Of keys of the room `meta`."""
DELIBERATE = frozenset({"", "standing"})
"""Rungs that are no falling back: a policy's choice, and one that is held on purpose."""


class ObjectiveState(Struct, frozen=True, kw_only=True):
    """How an objective stands."""

    indicator: str
    placement: str
    target: float
    good: int
    """Of the period."""
    bad: int
    left: float
    """Share of the error budget that is left; below zero: overspent."""
    rates: dict[str, float]
    """Window in seconds → how many times too fast the budget is spent."""


class _Watched:
    """One objective and where its readings stood."""

    __slots__ = ("budget", "last", "objective", "stored")

    def __init__(self, objective: Objective) -> None:
        period_ms = objective.period_days * DAY_MS
        self.objective = objective
        self.budget = ErrorBudget(objective.target, period_ms, objective.bad_min)
        self.last: tuple[int, int] | None = None if objective.indicator == "rounds" else (0, 0)
        self.stored = b""

    def take(self, total: tuple[int, int], now_ms: int) -> None:
        """Readings since the start of the process, or of the device."""
        last = self.last if self.last is not None else total
        self.budget.add(max(0, total[0] - last[0]), max(0, total[1] - last[1]), now_ms)
        self.last = total


class Objectives:
    """All of a device's."""

    def __init__(self, agent: "Agent", objectives: Iterable[Objective]) -> None:
        self._agent = agent
        self._watched = {objective.name: _Watched(objective) for objective in objectives}
        self._times = any(one.objective.indicator == "latency" for one in self._watched.values())
        self._looked_ms = self._stored_ms = 0

    def restore(self, key: str, value: bytes) -> None:
        """Take up a row of the room `meta`; of an objective that is gone, or unreadable: it begins anew."""
        watched = self._watched.get(key.removeprefix(PREFIX))
        if watched is not None:
            try:
                watched.budget.restore(value)
            except msgspec.MsgspecError:
                self._agent.count("objectives.unreadable")

    def tick(self, batch: Batch) -> None:
        """Once a second; looks once a minute, by the time that no leap of the clock moves."""
        now_ms = batch.settled_ms
        if 0 <= now_ms - self._looked_ms < LOOK_MS:
            return
        self._looked_ms = now_ms
        arrival = self._agent.doors.lags()[1] if self._times else {}
        store = not 0 <= now_ms - self._stored_ms < STORE_MS
        for name, watched in self._watched.items():
            watched.take(self._reading(watched.objective, arrival), now_ms)
            self._agent.alerts.tell(
                "burn-rate", name, _finding(watched.objective, watched.budget.burning(now_ms)), batch
            )
            if store and (packed := watched.budget.pack()) != watched.stored:
                watched.stored = packed
                batch.put("meta", PREFIX + name, packed)
        if store:
            self._stored_ms = now_ms

    def _reading(self, objective: Objective, arrival: Mapping[str, Histogram]) -> tuple[int, int]:
        """Good and bad so far."""
        agent = self._agent
        if objective.indicator == "rounds":
            return agent.counters.get("rounds", 0), agent.counters.get("rounds.failed", 0)
        place = agent.placements[objective.placement]
        if objective.indicator == "fallback":
            made = place.rungs
            good = sum(count for rung, count in made.items() if rung in DELIBERATE)
            return good, sum(made.values()) - good
        lags = arrival.get(objective.placement)
        if lags is None:
            return 0, 0
        last = bucket_of(objective.within_ms or place.placement.budget_ms)
        good = sum(count for number, count in lags.buckets.items() if number <= last)
        return good, lags.count - good

    def told(self, now_ms: int) -> dict[str, ObjectiveState]:
        """How all of them stand, by name."""
        return {name: _told(one, now_ms) for name, one in self._watched.items()}


def objectives_of(agent: "Agent") -> Objectives | None:
    """None where the profile states none."""
    return Objectives(agent, agent.profile.objective) if agent.profile.objective else None


def _told(watched: _Watched, now_ms: int) -> ObjectiveState:
    budget, objective = watched.budget, watched.objective
    good, bad = budget.counts(budget.period_ms, now_ms)
    spans = sorted({ms for window in WINDOWS for ms in (window.long_ms, window.short_ms)})
    return ObjectiveState(
        indicator=objective.indicator,
        placement=objective.placement,
        target=objective.target,
        good=good,
        bad=bad,
        left=budget.left(now_ms),
        rates={str(ms // 1_000): budget.rate(ms, now_ms) for ms in spans},
    )


def _finding(objective: Objective, burning: Burning | None) -> Finding | None:
    if burning is None:
        return None
    window, rate, threshold, good, bad = burning
    within = BOUNDS_MS[bucket_of(objective.within_ms)] if objective.within_ms else 0.0
    what = {
        "latency": f"decisions of {objective.placement} were late" + (f" ({within:,.4g} ms)" if within else ""),
        "fallback": f"decisions of {objective.placement} fell back",
        "rounds": "federated rounds failed",
    }[objective.indicator]
    hours = window.long_ms / 3_600_000
    text = (
        f"{bad:,} of {good + bad:,} {what} in the last {hours:g} h: the error budget of `{objective.name}` "
        f"(target {100 * objective.target:g} % over {objective.period_days} days) is spent {rate:.3g} times too fast"
    )
    return Finding(
        severity=window.severity,
        what=text,
        value=rate,
        threshold=threshold,
        window_s=window.long_ms / 1_000,
        placement=objective.placement,
    )
