"""A fleet that is made up, for seeing what a plan would do before anything is done.

Each virtual device takes the version after a while, goes from stage to stage as `[model.swap]` has it, decides as often
as is said, and reports its sums. These are not agents: what they do is drawn from the stated numbers and one seed.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from msgspec import Struct

from coordinator.errors import PlanMalformed
from coordinator.rollout.machine import ended, step
from coordinator.rollout.state import Heard, Observation, Order, Rollout, Step, Wish, touched
from firmware_configs.histogram import bucket_of
from firmware_configs.messages import BundleState, Sums, Tally, Watch

FETCH_S = 5.0
CALL_MS = 4.0
SPREAD = 0.3
"""Of the logarithm of a call's time."""
REWARD = 0.4
REWARDED = 0.5
"""Share of decisions that get an outcome."""
HOPE_S = 90 * 86_400.0
"""How long a simulation goes on."""


class Fault(Struct, frozen=True, kw_only=True):
    """What is wrong with the new version."""

    kind: Literal["none", "slow", "worse", "crash", "silent", "errors"]
    by: float = 0.0
    """slow: times as long. worse: lower mean reward. errors: share of decisions. crash, silent: share of devices."""


DEFAULTS: Mapping[str, float] = {"none": 0.0, "slow": 3.0, "worse": 0.1, "crash": 1.0, "silent": 1.0, "errors": 0.2}


def fault(text: str) -> Fault:
    """A fault as `--fail` takes it: `slow:3x`, `worse:0.1`, `crash`, `crash:0.05`, `silent`, `errors:0.2`.

    Raises:
        PlanMalformed: it is none of these.
    """
    kind, _, number = text.partition(":")
    hint = "write none, slow:3x, worse:0.1, errors:0.2, crash, crash:0.05, silent or silent:0.5"
    if kind not in DEFAULTS:
        raise PlanMalformed(f"--fail {text}: no such failure", hint=hint)
    try:
        by = float(number.removesuffix("x")) if number else DEFAULTS[kind]
    except ValueError:
        raise PlanMalformed(f"--fail {text}: `{number}` is no number", hint=hint) from None
    low, most = (1.0, 1_000.0) if kind == "slow" else (0.0, 1.0)
    if not low <= by <= most:
        raise PlanMalformed(f"--fail {text}: {by:g} is not from {low:g} to {most:g}", hint=hint)
    return Fault(kind=kind, by=by)  # type: ignore[arg-type]


class World(Struct, frozen=True, kw_only=True):
    """What is assumed of the devices."""

    fault: Fault = Fault(kind="none")
    per_minute: float = 2.0
    """Decisions of a device."""
    canary_share: float = 0.1
    stage_decisions: int = 200
    """Decisions in shadow, and as a canary, before the next stage."""
    seed: int = 0


class Virtual:
    """One virtual device."""

    def __init__(self, name: str, version: str, world: World, dice: np.random.Generator) -> None:
        self.name, self.world, self._dice = name, world, dice
        self.serving, self.wanted, self.stage = version, version, ""
        self.base = ""
        self.watch: Watch | None = None
        self.refused = ""
        self.dumb = False
        self._new, self._old = _Side(), _Side()
        self._compared = 0
        self._from_s = 0.0
        self.due_s = math.inf
        """When it will say something next."""
        self._start = ""

    def obey(self, order: Order, now_s: float) -> None:
        """Take an order, and say something about it a little later."""
        if order.version != self.wanted:
            self.stage = ""
        self.watch, self.wanted = order.watch, order.version
        if order.version != self.serving and not self.stage:
            self._start = order.rollout
            self.due_s = now_s + (FETCH_S if order.watch is not None else 1.0) * self._dice.uniform(0.5, 2.0)
            return
        self.due_s = now_s + 1.0

    def speak(self, now_s: float) -> BundleState | None:
        """What it reports now; None: it can speak no more."""
        if self.dumb:
            return None
        if self.wanted != self.serving and not self.stage:
            if (
                self.world.fault.kind == "silent"
                and self.base != self.wanted
                and self._dice.random() < self.world.fault.by
            ):
                self.dumb, self.due_s = True, math.inf
                return None
            if (said := self._take(now_s)) is not None:
                return said
        if self.stage:
            self._live(now_s)
        self.due_s = now_s + self.watch.every_s if self.watch is not None and self.stage else math.inf
        sums = Sums(new=self._new.tally(), old=self._old.tally(), compared=self._compared, agreed=self._compared)
        if self.stage in {"shadow", "canary"}:
            return BundleState(version=self.wanted, state=self.stage, serving=self.serving, sums=sums)  # type: ignore[arg-type]
        watched = self.stage == "full" and self.watch is not None
        if not watched:
            self.stage = ""
        return BundleState(version=self.serving, state="active", sums=sums if watched else None)

    def _take(self, now_s: float) -> BundleState | None:
        fault = self.world.fault
        if self.base == self.wanted:  # back to what it had: it lies there
            self.serving, self.base, self.stage = self.wanted, "", ""
            return None
        if fault.kind == "crash" and self._dice.random() < fault.by:
            self.due_s = math.inf
            reason = "AGT706 the probe ended with signal 11"
            return BundleState(version=self.wanted, state="failed", reason=reason, serving=self.serving)
        self.stage, self._from_s = self._start or "canary", now_s
        self._new, self._old, self._compared = _Side(), _Side(), 0
        if self.stage == "full":
            self.base, self.serving = self.serving, self.wanted
        return None

    def _live(self, now_s: float) -> None:
        world, fault = self.world, self.world.fault
        made = int(self._dice.poisson(world.per_minute * (now_s - self._from_s) / 60.0))
        self._from_s = now_s
        share = {"shadow": 0.0, "canary": world.canary_share, "full": 1.0}[self.stage]
        new = int(self._dice.binomial(made, share)) if 0.0 < share < 1.0 else int(made * share)
        slow = fault.by if fault.kind == "slow" else 1.0
        worse = REWARD - (fault.by if fault.kind == "worse" else 0.0)
        errors = fault.by if fault.kind == "errors" else 0.0
        if self.stage == "shadow":
            self._new.live(made, self._dice, CALL_MS * slow, None, errors)
            self._compared += made
        else:
            self._new.live(new, self._dice, CALL_MS * slow, worse, errors)
        self._old.live(made - new, self._dice, CALL_MS, REWARD, 0.0)
        if self.stage != "full" and self._new.decisions >= world.stage_decisions:
            self.stage = "canary" if self.stage == "shadow" else "full"
            self._new = _Side()
            self._old.decisions = self._old.errors = 0
            if self.stage == "full":
                self.base, self.serving = self.serving, self.wanted


class _Side:
    """What a virtual device counts of one version."""

    def __init__(self) -> None:
        self.decisions = self.errors = self.rewards = 0
        self.reward = 0.0
        self.calls: dict[int, int] = {}

    def live(self, made: int, dice: np.random.Generator, ms: float, reward: float | None, errors: float) -> None:
        self.decisions += made
        failed = int(dice.binomial(made, errors)) if errors else 0
        self.errors += failed
        for took in dice.lognormal(math.log(ms), SPREAD, made - failed):
            number = bucket_of(float(took))
            self.calls[number] = self.calls.get(number, 0) + 1
        if reward is not None:
            rewards = int(dice.binomial(made, REWARDED))
            self.rewards += rewards
            self.reward += float(dice.binomial(rewards, max(0.0, reward)))

    def tally(self) -> Tally:
        return Tally(
            decisions=self.decisions,
            errors=self.errors,
            calls=dict(self.calls),
            rewards=self.rewards,
            reward=self.reward,
            squares=self.reward,
        )


class Simulation(Struct, frozen=True, kw_only=True):
    """What came of it."""

    rollout: Rollout
    timeline: tuple[tuple[float, str, str, int], ...]
    """(seconds since the start, what, why, devices)."""
    seconds: float
    touched: int
    """Devices that were ever asked."""
    at_risk: int
    """The most that were at risk at once."""
    halted_s: float
    """From the first device that was asked to the halt; nan: it was not halted."""


def simulate(rollout: Rollout, world: World, step_s: float = 0.0) -> Simulation:
    """Run a planned rollout on virtual devices to its end, or for 90 days of simulated time.

    Args:
        step_s: seconds between two steps; 0: as often as watched devices report.
    """
    fleet = {
        member.device: Virtual(member.device, member.before, world, dice)
        for member, dice in zip(
            rollout.members.values(), np.random.default_rng(world.seed).spawn(len(rollout.members)), strict=True
        )
    }
    timeline: list[tuple[float, str, str, int]] = []
    most, first_s, halted_s = 0, math.nan, math.nan
    now_s, every_s = 0.0, step_s or rollout.plan.report_every_s
    for made in _steps(rollout, fleet, every_s):
        rollout, now_s = made.rollout, made.rollout.now_ms / 1_000 - 1.0
        timeline += [(now_s, note.what, note.why, len(note.devices)) for note in made.notes]
        holding = sum(member.state in {"asked", "trying"} for member in rollout.members.values())
        most = max(most, holding)
        if math.isnan(first_s) and made.orders:
            first_s = now_s
        if math.isnan(halted_s) and any(note.what.startswith("halted") for note in made.notes):
            halted_s = now_s - first_s
    return Simulation(
        rollout=rollout,
        timeline=tuple(timeline),
        seconds=now_s,
        touched=len(touched(rollout)),
        at_risk=most,
        halted_s=halted_s,
    )


def _steps(rollout: Rollout, fleet: Mapping[str, Virtual], every_s: float) -> Iterator[Step]:
    heard: list[Observation] = [
        Heard(device=v.name, bundle=BundleState(version=v.serving, state="active")) for v in fleet.values()
    ]
    heard.append(Wish(kind="start", who="simulation"))
    now_s = 0.0
    while now_s < HOPE_S:
        made = step(rollout, heard, int(1_000 * (now_s + 1.0)))
        rollout = made.rollout
        yield made
        if ended(rollout) or rollout.state == "halted":
            return
        for order in made.orders:
            fleet[order.device].obey(order, now_s)
        now_s += every_s
        heard = []
        for virtual in fleet.values():
            if virtual.due_s <= now_s and (said := virtual.speak(now_s)) is not None:
                heard.append(Heard(device=virtual.name, bundle=said))
