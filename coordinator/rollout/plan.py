"""`rollout.toml`: who gets a new version when, what is waited for, and what stops it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from coordinator.errors import PlanInconsistent, PlanMalformed, PlanUnreadable
from firmware_configs import strict

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Word = Annotated[str, Meta(min_length=1, max_length=63)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=31_536_000.0)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Kind = Literal["devices", "errors", "latency", "reward", "drift", "subgroup"]


class Fleet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may take part at all; left out: every enrolled device."""

    devices: Annotated[tuple[Word, ...], Meta(description="these, by name")] = ()
    tags: Annotated[tuple[Word, ...], Meta(description="those with one of these: KEY=VALUE, KEY, or group:NAME")] = ()


class Cohort(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step. Everybody of earlier cohorts is in the later ones."""

    name: Annotated[str, Meta(max_length=63, description="for people; empty: its number")] = ""
    share: Annotated[
        float, Meta(ge=0.0, le=1.0, description="share of the fleet that has the version then, by keyed hash")
    ] = 0.0
    devices: Annotated[tuple[Word, ...], Meta(description="these too, by name")] = ()
    tags: Annotated[tuple[Word, ...], Meta(description="those too that have one of these tags")] = ()
    soak_s: Annotated[Seconds, Meta(description="time watched, once enough devices run it, before the next cohort")]
    reporting_min: Annotated[
        Share, Meta(description="share of the devices present that must run it before the soak begins")
    ] = 0.9
    decisions_min: Annotated[Count, Meta(description="decisions by the new version in this cohort, at least")] = 0
    rewards_min: Annotated[Count, Meta(description="rewards of the new version in this cohort, at least")] = 0


class LatencyAt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other limits above a load."""

    above: Annotated[float, Meta(gt=0.0, description="decisions a second and device")]
    ratio_max: Annotated[float, Meta(ge=1.0, le=1_000.0)]


class Latency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call of the model may not take much longer than the old version's."""

    ratio_max: Annotated[float, Meta(ge=1.0, le=1_000.0, description="the new quantile over the old one, at most")] = (
        1.5
    )
    quantile: Annotated[float, Meta(ge=0.5, le=0.999, description="which quantile of a call's time")] = 0.5
    floor_ms: Annotated[float, Meta(ge=0.0625, le=60_000.0, description="what is quicker than this is fine")] = 1.0
    load: Annotated[tuple[LatencyAt, ...], Meta(max_length=8)] = ()


class ErrorsAt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other limits above a load."""

    above: Annotated[float, Meta(gt=0.0, description="decisions a second and device")]
    share_max: Share


class Errors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls that fail, and decisions that overrun their budget."""

    share_max: Annotated[Share, Meta(description="of the new version's decisions, at most")] = 0.02
    load: Annotated[tuple[ErrorsAt, ...], Meta(max_length=8)] = ()


class Reward(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decisions earn, in [0, 1]."""

    drop_max: Annotated[Share, Meta(description="how much lower than the old version's the mean may be")] = 0.0
    margin_max: Annotated[
        float,
        Meta(
            gt=0.0, le=1.0, description="no cohort is passed until the drop is surely below this; 1: never waited for"
        ),
    ] = 1.0


class Drift(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the new version's choices are from the old one's; counted while it scores in shadow."""

    agreement_min: Annotated[Share, Meta(description="share of decisions with the same best candidate, at least")]


class Subgroup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No group of devices may be served much worse by the change than another."""

    gap_max: Annotated[Share, Meta(description="best group's change of the mean reward over the worst's, at most")]
    tags: Annotated[tuple[Word, ...], Meta(description="each a group: the devices with this tag")] = ()
    groups: Annotated[dict[Word, tuple[Word, ...]], Meta(description="name → devices")] = {}


class Devices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices that did not take the version, went back by themselves, or went silent with it."""

    failed_max: Annotated[Share, Meta(description="share of a cohort that may refuse it or go back")] = 0.02
    silent_max: Annotated[Share, Meta(description="share of a cohort that may stop reporting")] = 0.1
    silent_after_s: Annotated[
        float, Meta(ge=1.0, le=2_592_000.0, description="time without a word after which a device counts as silent")
    ] = 900.0
    fetch_max_s: Annotated[
        float,
        Meta(
            ge=1.0,
            le=2_592_000.0,
            description="time watched that a device may take from being asked until it runs the version, while it is "
            "offline or its download is interrupted; then it counts as silent, or failed",
        ),
    ] = 3_600.0


class Guards(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stops the rollout; a guard that is left out does not look."""

    devices: Devices = Devices()
    errors: Errors | None = None
    latency: Latency | None = None
    reward: Reward | None = None
    drift: Drift | None = None
    subgroup: Subgroup | None = None


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole `rollout.toml`."""

    schema: Annotated[Literal[1], Meta(description="of this file's form")]
    bundle: Name
    version: Annotated[str, Meta(min_length=1, max_length=63, description="PEP 440; published in the registry")]
    start: Annotated[
        Literal["shadow", "canary", "full"],
        Meta(description="how a device takes it up: beside the old version, for a share of the subjects, or at once"),
    ] = "canary"
    key: Annotated[
        str, Meta(max_length=63, description="who comes first is drawn by it; empty: bundle and version")
    ] = ""
    alpha: Annotated[
        float,
        Meta(gt=0.0, le=0.5, description="how often, at most, chance alone halts a version that keeps the limits"),
    ] = 0.01
    at_risk_max: Annotated[
        int, Meta(ge=1, le=10_000_000, description="devices that may at once hold it and not have settled with it")
    ] = 100
    settled_decisions: Annotated[
        Count, Meta(description="decisions by the new version after which a device has settled with it")
    ] = 20
    report_every_s: Annotated[float, Meta(ge=1.0, le=86_400.0, description="how often watched devices report")] = 60.0
    on_breach: Annotated[Literal["rollback", "halt"], Meta(description="halt: a person decides what comes then")] = (
        "rollback"
    )
    fleet: Fleet = Fleet()
    cohort: Annotated[tuple[Cohort, ...], Meta(min_length=1, max_length=32)]
    guard: Guards = Guards()

    @property
    def draw_key(self) -> str:
        """The key of the draw."""
        return self.key or f"{self.bundle} {self.version}"

    def named(self, cohort: int) -> str:
        """A cohort's name."""
        return self.cohort[cohort].name or f"cohort {cohort + 1}"

    @property
    def bands(self) -> tuple[float, ...]:
        """Loads at which limits change, rising: calls and errors are counted apart between them."""
        at = {one.above for one in self.guard.latency.load} if self.guard.latency else set[float]()
        at |= {one.above for one in self.guard.errors.load} if self.guard.errors else set()
        return tuple(sorted(at))

    @property
    def statistical(self) -> tuple[Kind, ...]:
        """The guards that chance could set off; they share `alpha`."""
        kinds: tuple[Kind, ...] = ("errors", "latency", "reward", "drift", "subgroup")
        return tuple(kind for kind in kinds if getattr(self.guard, kind) is not None)

    @property
    def alpha_each(self) -> float:
        """What each of them may spend."""
        return self.alpha / max(1, len(self.statistical))


def load(path: Path) -> Plan:
    """Read and check a plan.

    Raises:
        PlanUnreadable: no such file, too large, not UTF-8, not TOML (with line and column).
        PlanMalformed: an unknown key (with the nearest right one), a wrong type, a value out of range.
        PlanInconsistent: parts that contradict each other, all of them at once.
    """
    return parse(strict.read_text(path, PlanUnreadable), str(path))


def parse(text: str, path: str = "rollout") -> Plan:
    """`load` for a document at hand; `path` is what errors call it."""
    plan = strict.convert(strict.read_toml(text, path, PlanUnreadable), Plan, path, PlanMalformed)
    if wrong := faults(plan):
        listed = "\n".join(f"  {where}: {what}\n    fix: {fix}" for where, what, fix in wrong)
        plural = "s" if len(wrong) > 1 else ""
        raise PlanInconsistent(f"{path}: {len(wrong)} contradiction{plural}\n{listed}", hint="mend the places above")
    return plan


def faults(plan: Plan) -> list[tuple[str, str, str]]:
    """(where, what, fix) of everything that contradicts itself; empty: the plan can be used."""
    found = [*_version_faults(plan), *_cohort_faults(plan), *_load_faults(plan)]
    guard = plan.guard
    if plan.start == "full":
        for kind in ("latency", "reward", "subgroup"):
            if getattr(guard, kind) is not None:
                what = f"a version that starts in full has no old version beside it for [guard.{kind}] to compare with"
                found.append((f"guard.{kind}", what, 'write start = "canary" or "shadow"'))
    if guard.drift is not None and plan.start != "shadow":
        what = "drift is counted while the new version scores beside the old one"
        found.append(("guard.drift", what, 'write start = "shadow"'))
    if guard.subgroup is not None and len(guard.subgroup.tags) + len(guard.subgroup.groups) < 2:
        found.append(("guard.subgroup", "a gap needs two groups", "name groups or tags"))
    if guard.subgroup is not None and (twice := set(guard.subgroup.tags) & set(guard.subgroup.groups)):
        found.append(("guard.subgroup.groups", f"{_listed(twice)} is a tag too", "give the group another name"))
    if plan.report_every_s * 2 > guard.devices.silent_after_s:
        what = f"devices report every {plan.report_every_s:g} s and are silent after {guard.devices.silent_after_s:g} s"
        found.append(("guard.devices.silent_after_s", what, "allow two reports at least"))
    if guard.reward is not None and guard.reward.margin_max < 1.0 and guard.reward.margin_max <= guard.reward.drop_max:
        what = "passing would need a smaller drop than the one that halts"
        found.append(("guard.reward.margin_max", what, "write more than drop_max"))
    return found


def _version_faults(plan: Plan) -> list[tuple[str, str, str]]:
    from packaging.version import InvalidVersion, Version

    try:
        Version(plan.version)
    except InvalidVersion:
        return [("version", f"`{plan.version}` is no version (PEP 440)", "write one such as 1.2.0")]
    return []


def _cohort_faults(plan: Plan) -> list[tuple[str, str, str]]:
    found, widest = [], 0.0
    names = [plan.named(number) for number in range(len(plan.cohort))]
    for number, cohort in enumerate(plan.cohort):
        where = f"cohort[{number}]"
        if not (cohort.share or cohort.devices or cohort.tags):
            found.append((where, "it names nobody", "write share, devices or tags"))
        if cohort.share and cohort.share <= widest:
            what = f"{cohort.share:g} is no more than the {widest:g} of an earlier cohort, whose devices are in it"
            found.append((f"{where}.share", what, "let shares rise"))
        widest = max(widest, cohort.share)
        if names.index(names[number]) != number:
            found.append((f"{where}.name", f"`{names[number]}` stands there twice", "name each cohort once"))
        rewarded = cohort.rewards_min and plan.start == "shadow" and plan.guard.reward is None
        if rewarded:
            what = "nothing looks at the rewards that are waited for"
            found.append((f"{where}.rewards_min", what, "add [guard.reward]"))
    return found


def _load_faults(plan: Plan) -> list[tuple[str, str, str]]:
    tables: Mapping[str, tuple[float, ...]] = {
        "latency": tuple(one.above for one in plan.guard.latency.load) if plan.guard.latency else (),
        "errors": tuple(one.above for one in plan.guard.errors.load) if plan.guard.errors else (),
    }
    return [
        (f"guard.{kind}.load", "`above` does not rise", "write the tables in rising order, each once")
        for kind, at in tables.items()
        if list(at) != sorted(set(at))
    ]


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def json_schema() -> dict[str, object]:
    """The plan's JSON Schema (2020-12), for editors."""
    return msgspec.json.schema(Plan)
