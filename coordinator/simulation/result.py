"""What came out of a simulation: the same bytes for the same plan, devices, days and seed, by whatever engine."""

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from coordinator.accountant import Spend, epsilon
from coordinator.simulation.course import Days
from coordinator.simulation.devices import Tally
from coordinator.simulation.plan import Plan
from coordinator.simulation.rollouts import Course
from coordinator.simulation.rounds import Told

EPSILONS_MAX = 24
"""Rounds at which ε is reckoned, evenly over the simulation; each takes a third of a second."""


EVENTS = (
    "Every event of every device went through agent.step; what people do, when devices are online and how fast they "
    "are is drawn from the plan."
)
TICKS = "Agents are told every {:g} s that time passes, real ones every second: windows close up to that much later."
CALLS = (
    "Calls of models take no time, so no budget is overrun and no latency is compared; how long a device takes to "
    "answer a round is reckoned from the plan's speeds and lines."
)
ARM = ("decisions", "answered", "clicks")
COHORT = (
    "The people are a cohort's: what they pick and when is theirs, and they like what they pick there; whether they "
    "answer is drawn."
)
RUNS = "Each round is a run of its own: nothing that rounding took is carried into the next."


class Contents(Struct, frozen=True, kw_only=True):
    """What stands in the files that a plan names."""

    profile: str
    """The profile's hash, as in ledgers."""
    bundles: dict[str, str]
    """`NAME VERSION` → SHA-256 of the file, hex; in the plan's order."""
    cohort: str = ""
    """SHA-256 of the ratings, hex; empty: people were drawn."""


class Result(Struct, frozen=True, kw_only=True):
    """A whole `result.json`."""

    schema: int = 1
    plan: str
    """sha256 of the plan and of what its files hold, wherever they lie; 16 hex digits."""
    contents: Contents
    devices: int
    days: int
    seed: int
    start: str
    online: tuple[int, ...]
    """Devices that were online, by hour."""
    hours: dict[str, tuple[int, ...]]
    """What devices counted, by hour; see `firmware_configs.virtual.COUNTED`."""
    versions: dict[str, tuple[int, ...]]
    """`NAME VERSION` → decisions that it had a part in, by hour."""
    arms: dict[str, dict[str, int]]
    """`PLACEMENT ARM` of the profile's experiments → `decisions`, and of them `answered` and `clicks`."""
    totals: dict[str, int]
    rounds: tuple[Told, ...]
    rollouts: tuple[Course, ...]
    epsilon: dict[str, float]
    """Round → what was spent by then; empty: the rounds are not private."""
    epsilon_max: float
    delta: float
    assumed: tuple[str, ...]
    """What a reader must know before believing a figure."""

    def share(self, of: str, to: str) -> tuple[float | None, ...]:
        """By hour, one count as a share of another; None where there is nothing to divide by."""
        pairs = zip(self.hours[of], self.hours[to], strict=True)
        return tuple(a / b if b else None for a, b in pairs)


def of(days: Days, tally: Tally, seed: int, contents: Contents) -> Result:
    """What came out of days that were lived."""
    plan = days.plan
    told = tuple(days.teaching.done) if days.teaching is not None else ()
    online = tuple(int(days.fleet.online(hour).sum()) for hour in range(days.hours))
    return Result(
        plan=hashlib.sha256(msgspec.json.encode(_portable(plan, contents), order="deterministic")).hexdigest()[:16],
        contents=contents,
        devices=days.fleet.devices,
        days=days.days,
        seed=seed,
        start=plan.start.isoformat(),
        online=online,
        hours={name: tuple(counts.tolist()) for name, counts in tally.counts.items()},
        versions={name: tuple(tally.versions[name].tolist()) for name in sorted(tally.versions)},
        arms={arm: {what: tally.arms[arm].get(what, 0) for what in ARM} for arm in sorted(tally.arms)},
        totals={name: int(counts.sum()) for name, counts in tally.counts.items()},
        rounds=told,
        rollouts=tuple(days.rollouts),
        epsilon=_epsilon(plan, told, days),
        epsilon_max=plan.privacy.epsilon_max if plan.privacy is not None else 0.0,
        delta=plan.privacy.delta if plan.privacy is not None else 0.0,
        assumed=assumed(plan),
    )


def encode(found: Result) -> bytes:
    """As it is written."""
    return msgspec.json.format(msgspec.json.encode(found, order="deterministic"), indent=1) + b"\n"


def assumed(plan: Plan) -> tuple[str, ...]:
    """What the figures rest on, in sentences."""
    said = [EVENTS, TICKS.format(plan.tick_s), CALLS, RUNS]
    if plan.cohort:
        said.append(COHORT)
    if plan.privacy is not None:
        said.append("The noise is drawn from the seed so that the simulation repeats; a real round's never is.")
    return tuple(said)


def _portable(plan: Plan, contents: Contents) -> dict[str, Any]:
    """The plan with what its files hold in place of their names, which are this machine's."""
    found: dict[str, Any] = msgspec.to_builtins(plan)
    named: dict[str, Any] = {"profile": contents.profile, "bundles": list(contents.bundles.items())}
    if not plan.cohort:
        del found["cohort"]  # so that plans without one are what they were
        return found | named
    return found | named | {"cohort": contents.cohort}


def _epsilon(plan: Plan, told: tuple[Told, ...], days: Days) -> dict[str, float]:
    """ε after rounds that released something."""
    private, teaching = plan.privacy, days.teaching
    if private is None or teaching is None:
        return {}
    released = [one.row.number for one in told if one.row.state in {"accounted", "published"}]
    every = max(1, -(-len(released) // EPSILONS_MAX))
    found = {}
    for count, number in enumerate(released, start=1):
        if count % every == 0 or count == len(released):
            spent = Spend(noise_multiplier=private.noise_multiplier, rate=teaching.rate, rounds=count)
            found[str(number)] = round(epsilon([spent], private.delta, private.accountant), 6)
    return found
