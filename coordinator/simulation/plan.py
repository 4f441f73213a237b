"""`simulation.toml`: what is assumed of a fleet, and what the coordinator does with it."""

import datetime
import json
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from coordinator.errors import SimulationInconsistent, SimulationMalformed, SimulationUnreadable, StrategyRefused
from coordinator.rollout.plan import Cohort, Guards
from coordinator.rollout.plan import Plan as RolloutPlan
from coordinator.rollout.plan import faults as rollout_faults
from coordinator.rule_names import Rule
from coordinator.strategies.settings import chosen
from firmware_configs import strict
from firmware_configs.loader import load as load_profile
from firmware_configs.profile import Profile
from firmware_configs.virtual import (
    ALWAYS,
    DAY_MS,
    Attackers,
    Behaviour,
    Day,
    Drift,
    Events,
    Feedback,
    Flag,
    Normal,
    People,
    Share,
    Taste,
)

EXAMPLE = Path(__file__).with_name("example.toml")
"""A plan that runs, from here: its paths lead to the profile and the bundles that are installed beside."""
Path_ = Annotated[str, Meta(min_length=1, max_length=4_096)]
TYPES: dict[type, str] = {Taste: "text", Normal: "number", Flag: "flag"}


class Population(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom the coordinator reaches."""

    online: Annotated[Day, Meta(description="share of the devices that are online, by hour of the day (UTC)")] = ALWAYS
    drop_out: Annotated[Share, Meta(description="of those that are asked in a round, how many never answer")] = 0.0


class Speed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a device takes to learn. Assumed, not measured: the result must not depend on this machine."""

    step_ms: Annotated[float, Meta(ge=0.0, le=1e6, description="one step of the optimiser on an ordinary device")] = 5.0
    start_s: Annotated[float, Meta(ge=0.0, le=1e6, description="from the offer until the learner is online")] = 5.0
    slow: Annotated[Share, Meta(description="share of slow devices")] = 0.0
    slow_factor: Annotated[float, Meta(ge=1.0, le=1e6, description="how many times as long those take")] = 10.0


class Line(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How some devices are connected."""

    share: Annotated[float, Meta(gt=0.0, le=1.0, description="of the devices; the shares of all lines sum to one")]
    down_kbit_s: Annotated[float, Meta(gt=0.0, le=1e8)]
    up_kbit_s: Annotated[float, Meta(gt=0.0, le=1e8)]
    latency_ms: Annotated[float, Meta(ge=0.0, le=1e6)] = 30.0


class Rounds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Federated rounds."""

    bundle: Annotated[str, Meta(description="of `bundles`; the profile must let it be federated")]
    hours: Annotated[
        tuple[Annotated[float, Meta(ge=0.0, lt=24.0)], ...],
        Meta(max_length=1_000, description="of the day (UTC) at which a round begins, rising"),
    ]
    wanted: Annotated[int, Meta(ge=0, description="reports that close a round; 0: from everyone online")] = 0
    over_selection: Annotated[float, Meta(ge=0.0, le=10.0, description="more to ask, a share of `wanted`")] = 0.3
    minimum_reports: Annotated[int, Meta(ge=1)] = 1
    deadline_s: Annotated[float, Meta(gt=0.0, le=3_600.0)] = 60.0
    epochs: Annotated[int, Meta(ge=0, le=100, description="0: the bundle's own")] = 0
    lr: Annotated[float, Meta(ge=0.0, le=1_000.0, description="0: the bundle's own")] = 0.0
    clip_norm: Annotated[float, Meta(gt=0.0)] = 100.0
    strategy: str = "fedavg"
    options: dict[str, float] = {}
    rule: Rule | None = None
    hostile_share: Annotated[float, Meta(ge=0.0, lt=0.5)] = 0.2
    quarantine: Annotated[bool, Meta(description="leave out reports that do not fit, and who keeps sending them")] = (
        True
    )
    version_every: Annotated[
        int, Meta(ge=0, description="rounds after which the result becomes a version that is rolled out; 0: never")
    ] = 0


class Private(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Differential privacy of the rounds; the coordinator adds the noise, and asks each device by a coin."""

    epsilon_max: Annotated[float, Meta(gt=0.0)]
    delta: Annotated[float, Meta(gt=0.0, lt=1.0)] = 1e-5
    noise_multiplier: Annotated[float, Meta(gt=0.0)]
    accountant: Literal["pld", "rdp"] = "pld"


class Rollout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a new version reaches devices; the keys of `rollout.toml`, see docs/rollout.md."""

    start: Literal["shadow", "canary", "full"] = "canary"
    alpha: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.01
    at_risk_max: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000_000
    settled_decisions: Annotated[int, Meta(ge=0)] = 20
    report_every_s: Annotated[float, Meta(ge=600.0, le=86_400.0, description="how often the rollout looks")] = 3_600.0
    on_breach: Literal["rollback", "halt"] = "rollback"
    cohort: Annotated[tuple[Cohort, ...], Meta(min_length=1, max_length=32)]
    guard: Guards = Guards()

    def plan(self, bundle: str, version: str) -> RolloutPlan:
        """The plan of one version."""
        return RolloutPlan(schema=1, bundle=bundle, version=version, **{n: getattr(self, n) for n in _ROLLOUT})


_ROLLOUT = Rollout.__struct_fields__


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole `simulation.toml`. Paths are relative to it."""

    schema: Annotated[Literal[1], Meta(description="of this file's form")]
    profile: Annotated[Path_, Meta(description="of all devices")]
    bundles: Annotated[tuple[Path_, ...], Meta(min_length=1, max_length=16, description="what they run at first")]
    cohort: Annotated[
        str,
        Meta(max_length=4_096, description="ratings.csv of the people who live with the devices; empty: drawn people"),
    ] = ""
    start: Annotated[datetime.date, Meta(description="the first day; it begins at midnight UTC")] = datetime.date(
        2026, 1, 5
    )
    tick_s: Annotated[
        float, Meta(ge=1.0, le=86_400.0, description="how often agents notice that time passes; real ones: 1 s")
    ] = 3_600.0
    population: Population = Population()
    people: People = People()
    event: Annotated[tuple[Events, ...], Meta(min_length=1, max_length=32)]
    feedback: Feedback | None = None
    drift: Drift = Drift()
    attackers: Attackers = Attackers()
    speed: Speed = Speed()
    line: Annotated[tuple[Line, ...], Meta(max_length=16)] = ()
    rounds: Rounds | None = None
    privacy: Private | None = None
    rollout: Rollout | None = None

    @property
    def behaviour(self) -> Behaviour:
        """What devices need to know."""
        return Behaviour(
            people=self.people,
            event=self.event,
            feedback=self.feedback,
            drift=self.drift,
            attackers=self.attackers,
            tick_s=self.tick_s,
        )

    @property
    def start_ms(self) -> int:
        """The first midnight, unix ms."""
        return (self.start - datetime.date(1970, 1, 1)).days * DAY_MS


def load(path: Path) -> Plan:
    """Read and check a plan; its paths come out whole.

    Raises:
        SimulationUnreadable: no such file, too large, not UTF-8, not TOML (with line and column).
        SimulationMalformed: an unknown key (with the nearest right one), a wrong type, a value out of range.
        SimulationInconsistent: parts that contradict each other or the profile, all of them at once.
        ProfileError: the profile cannot be used.
    """
    plan = parse(strict.read_text(path, SimulationUnreadable), str(path))
    whole = msgspec.structs.replace(
        plan,
        profile=str((path.parent / plan.profile).resolve()),
        bundles=tuple(str((path.parent / one).resolve()) for one in plan.bundles),
        cohort=str((path.parent / plan.cohort).resolve()) if plan.cohort else "",
    )
    _refuse(str(path), misfits(whole, load_profile(Path(whole.profile)).profile))
    return whole


def example_text() -> str:
    """The example as it may lie anywhere: its paths are whole."""
    text = EXAMPLE.read_text(encoding="utf-8")
    plan = parse(text, str(EXAMPLE))
    for path in (plan.profile, *plan.bundles):
        text = text.replace(f'"{path}"', json.dumps(str((EXAMPLE.parent / path).resolve()), ensure_ascii=False))
    return text


def parse(text: str, path: str = "simulation") -> Plan:
    """A plan by itself, without its profile; `path` is what errors call it."""
    plan = strict.convert(strict.read_toml(text, path, SimulationUnreadable), Plan, path, SimulationMalformed)
    _refuse(path, faults(plan))
    return plan


Fault = tuple[str, str, str]
"""Where, what, fix."""


def faults(plan: Plan) -> list[Fault]:
    """What contradicts itself."""
    found: list[Fault] = []
    if plan.line and abs(sum(line.share for line in plan.line) - 1.0) > 1e-6:
        total = sum(line.share for line in plan.line)
        found.append(("line", f"the shares sum to {total:g}", "let them sum to 1"))
    if any(share > 1.0 for share in plan.population.online):
        found.append(("population.online", "a share is above 1", "write 24 numbers from 0 to 1"))
    sources = [events.source for events in plan.event]
    found += [
        (f"event[{n}].source", f"`{name}` stands there twice", "write one [[event]] a source")
        for n, name in enumerate(sources)
        if sources.index(name) != n
    ]
    found += [
        (f"event[{n}].hours", "all weights are 0", "leave it out, or write a weight above 0")
        for n, events in enumerate(plan.event)
        if not any(events.hours)
    ]
    if plan.cohort and not any(events.picks for events in plan.event):
        found.append(("cohort", "no event says what a person picks", 'give a field of an event `kind = "taste"`'))
    if plan.cohort and plan.drift.share > 0.0:
        found.append(("drift.share", "people of a cohort do not change their taste", "leave out [drift], or `cohort`"))
    if plan.privacy is not None and plan.rounds is None:
        found.append(("privacy", "there are no rounds", "add [rounds]"))
    return [*found, *_round_faults(plan), *_rollout_faults(plan)]


def _round_faults(plan: Plan) -> list[Fault]:
    found: list[Fault] = []
    rounds = plan.rounds
    if rounds is None:
        return found
    if list(rounds.hours) != sorted(set(rounds.hours)):
        found.append(("rounds.hours", "the hours do not rise", "write them in rising order, each once"))
    try:
        strategy = chosen(rounds.strategy, rounds.options)
    except StrategyRefused as error:
        found.append(("rounds.strategy", error.what, error.hint))
    else:
        if strategy.preset.device not in {"plain", "prox"}:
            what = f"`{strategy.name}` keeps state on devices between rounds, which the simulation does not"
            found.append(("rounds.strategy", what, "a strategy whose devices train plainly, such as fedavg or adam"))
        if plan.privacy is not None and (strategy.preset.single or rounds.rule is not None):
            what = "a private round knows no single reports, and the rule needs them"
            found.append(("rounds.rule", what, "leave [privacy] out, or take a strategy of sums"))
    if plan.privacy is not None and not rounds.wanted:
        found.append(("rounds.wanted", "a private round asks each device with probability wanted / devices", "set it"))
    return found


def _rollout_faults(plan: Plan) -> list[Fault]:
    found: list[Fault] = []
    versions = plan.rounds is not None and plan.rounds.version_every > 0
    if (plan.rollout is None) == versions:
        what = "versions are made, and nothing says how they reach devices" if versions else "no version is ever made"
        fix = "add [rollout]" if versions else "set rounds.version_every"
        found.append(("rollout", what, fix))
    if plan.rollout is not None and plan.rounds is not None:
        part = plan.rollout.plan(plan.rounds.bundle, "1.0.1")
        found += [(f"rollout.{where}", what, fix) for where, what, fix in rollout_faults(part)]
        if part.guard.latency is not None:
            what = "calls take no time in a simulation, so there is nothing to compare"
            found.append(("rollout.guard.latency", what, "leave it out here"))
        tags = any(cohort.tags or cohort.devices for cohort in plan.rollout.cohort) or part.guard.subgroup is not None
        if tags:
            found.append(("rollout.cohort", "virtual devices have no tags and no names", "use shares"))
    return found


def misfits(plan: Plan, profile: Profile) -> list[Fault]:
    """What contradicts the profile."""
    sources = {source.name: source for source in profile.source}
    found: list[Fault] = []
    for n, events in enumerate(plan.event):
        source = sources.get(events.source)
        if source is None:
            found.append((f"event[{n}].source", f"the profile has no source `{events.source}`", _one_of(sources)))
            continue
        if source.codec != "json":
            found.append((f"event[{n}].source", f"`{source.name}` is read as {source.codec}", "take a JSON source"))
        fields = {field.name: field for field in source.field}
        for name, value in events.fields.items():
            where = f"event[{n}].fields.{name}"
            if name not in fields:
                found.append((where, f"`{source.name}` has no such field", _one_of(fields)))
            elif fields[name].type != TYPES.get(type(value), "text"):
                kind = TYPES.get(type(value), "text")
                found.append((where, f"the profile says {fields[name].type}, this draws {kind}", "change `kind`"))
        paths = [source.event_id, source.event_time, source.subject, *(f.path or f.name for f in source.field)]
        if any("." in path for path in paths):
            found.append((f"event[{n}].source", "its payload is nested", "take a source with a flat payload"))
    placements = {place.name: place for place in profile.placement}
    if plan.feedback is not None and plan.feedback.placement not in placements:
        what = f"the profile has no placement `{plan.feedback.placement}`"
        found.append(("feedback.placement", what, _one_of(placements)))
    if plan.rounds is not None:
        model = next((one for one in profile.model if one.name == plan.rounds.bundle), None)
        if model is None or not model.federated:
            what = f"the profile does not federate `{plan.rounds.bundle}`"
            found.append(("rounds.bundle", what, _one_of([one.name for one in profile.model if one.federated])))
    return found


def _one_of(names: object) -> str:
    listed = ", ".join(sorted(names)) if names else ""  # type: ignore[call-overload]
    return f"use one of: {listed}" if listed else "take another profile"


def _refuse(path: str, wrong: list[Fault]) -> None:
    if wrong:
        listed = "\n".join(f"  {where}: {what}\n    fix: {fix}" for where, what, fix in wrong)
        plural = "s" if len(wrong) > 1 else ""
        raise SimulationInconsistent(f"{path}: {len(wrong)} contradiction{plural}\n{listed}", hint="mend the places")


def json_schema() -> dict[str, object]:
    """The plan's JSON Schema (2020-12), for editors."""
    return msgspec.json.schema(Plan)
