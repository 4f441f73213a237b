"""Rollouts as the commands ask for them: begun, looked at, wished for, and tried on virtual devices."""

import getpass
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from msgspec import structs, to_builtins

from coordinator.errors import PlanUnfit, RolloutTaken, UnknownBundle, UnknownDevice
from coordinator.fleet.view import DeviceView
from coordinator.rollout.beginning import begin
from coordinator.rollout.machine import ended, missing
from coordinator.rollout.plan import Plan, load
from coordinator.rollout.state import Rollout, Wish, at_risk, touched
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.home import endpoints_of
from coordinator.shell.registry_store import Registry
from coordinator.shell.rollout_store import RolloutStore, active

BEFORE = "0.0.0"
"""What virtual devices run."""


def who() -> str:
    """The person at the terminal, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def fleet(home: Path) -> list[DeviceView]:
    """Enrolled devices that are not revoked.

    Raises:
        UnknownDevice: there are none.
    """
    devices = [device for device in FleetStore(home).views() if not device.revoked]
    if not devices:
        raise UnknownDevice("no device is enrolled", hint="edge-coordinator nodes enrol DEVICE --public-key FILE")
    return devices


def tags_of(device: DeviceView) -> tuple[str, ...]:
    """What a plan's `tags` can name of a device: `KEY=VALUE`, `KEY`, `group:NAME`."""
    own = (word for key, value in device.tags.items() for word in (f"{key}={value}", key))
    return (*own, *(f"group:{name}" for name in device.groups))


def start(home: Path, plan: Plan) -> Rollout:
    """Begin a rollout; `edge-coordinator up`, or `rollout run`, carries it on.

    What devices run is known from what they reported while the coordinator was up, else from what was wanted of them.

    Raises:
        UnknownBundle: the version is not published.
        PlanUnfit: nobody can take part, or the plan names devices that are not enrolled.
        RolloutTaken: another rollout of the bundle has not ended.
    """
    home = home.resolve()
    if Registry.existing(home).find(plan.bundle, plan.version) is None:
        hint = "edge-coordinator registry publish FILE"
        raise UnknownBundle(f"{plan.bundle} {plan.version} is not in the registry", hint=hint)
    rollout = foreseen(home, plan)
    rollouts = RolloutStore(home)
    rollouts.begin(rollout, Wish(kind="start", who=who()))
    rollouts.close()
    return rollout


def foreseen(home: Path, plan: Plan) -> Rollout:
    """The rollout as it would begin now; nothing is written, and nothing is asked of anybody.

    Raises:
        PlanUnfit, UnknownDevice: see `start`.
    """
    views = fleet(home)
    serving = {
        view.name: view.bundles.get(plan.bundle, "") or view.desired.bundles.get(plan.bundle, "") for view in views
    }
    key = f"{plan.bundle}-{plan.version}-{time.strftime('%m%d%H%M', time.gmtime())}-{uuid4().hex[:4]}"
    tags = {view.name: tags_of(view) for view in views}
    return begin(key, plan, tags, serving, endpoints_of(home).registry, int(time.time() * 1_000))


def start_of(home: Path, bundle: str, version: str, path: Path) -> Rollout:
    """Begin the rollout of a plan that must be of this version.

    Raises:
        PlanUnfit: it is of another bundle or version. Others: see `start`.
    """
    plan = load(path)
    if (plan.bundle, plan.version) != (bundle, version):
        raise PlanUnfit(
            f"{path} rolls out {plan.bundle} {plan.version}, not {bundle} {version}", hint="name the same in both"
        )
    return start(home, plan)


def refuse_while_rolling_out(home: Path, bundle: str) -> None:
    """Refuse to ask for another version beside a rollout, which would count it as its own devices' failure.

    Raises:
        RolloutTaken: naming the rollout.
    """
    store = RolloutStore(home)
    held = active(store.all()).get(bundle)
    store.close()
    if held is not None:
        raise RolloutTaken(
            f"rollout {held.key} of {bundle} is {held.state}",
            hint=f"wait for its end, or: edge-coordinator rollout rollback {held.key}",
        )


def imagined(plan: Plan, devices: int) -> Rollout:
    """The plan's rollout on so many virtual devices; those, groups and tags that the plan names are among them.

    Raises:
        PlanUnfit: the plan names more devices than there are.
    """
    named = {*plan.fleet.devices, *(device for cohort in plan.cohort for device in cohort.devices)}
    groups = plan.guard.subgroup.groups if plan.guard.subgroup is not None else {}
    named |= {device for group in groups.values() for device in group}
    if len(named) > devices:
        raise PlanUnfit(f"the plan names {len(named)} devices", hint=f"--devices {len(named)} or more")
    all_tags = {*plan.fleet.tags, *(tag for cohort in plan.cohort for tag in cohort.tags)}
    all_tags |= set(plan.guard.subgroup.tags) if plan.guard.subgroup is not None else set()
    listed = sorted(all_tags)
    names = [*sorted(named), *(f"virtual-{number}" for number in range(devices - len(named)))]
    # Tags go round, so that each is on a like share of the devices.
    tags = {name: (listed[place % len(listed)],) if listed else () for place, name in enumerate(names)}
    return begin("simulated", plan, tags, dict.fromkeys(names, BEFORE), "", 0)


def enrolled(home: Path, plan: Plan) -> Rollout:
    """The plan's rollout on the enrolled devices, as if each ran an older version; nothing is asked of them.

    Raises:
        PlanUnfit, UnknownDevice: see there.
    """
    tags = {view.name: tags_of(view) for view in fleet(home)}
    return begin("planned", plan, tags, dict.fromkeys(tags, BEFORE), "", 0)


def summary(rollout: Rollout) -> dict[str, Any]:
    """A rollout as `show --json` prints it."""
    plan = rollout.plan
    cohorts = []
    for number in range(len(plan.cohort)):
        own = [member for member in rollout.members.values() if member.cohort == number]
        states = {state: sum(m.state == state for m in own) for state in sorted({m.state for m in own})}
        cohorts.append(
            {
                "name": plan.named(number),
                "devices": len(own),
                "states": states,
                "silent": sum(member.silent for member in own),
            }
        )
    waits = missing(rollout) if rollout.state in {"soaking", "paused"} else []
    return {
        "rollout": rollout.key,
        "bundle": plan.bundle,
        "version": plan.version,
        "state": rollout.state,
        "cohort": plan.named(rollout.cohort),
        "reason": rollout.reason,
        "waits_for": waits,
        "touched": len(touched(rollout)),
        "at_risk": len(at_risk(rollout)),
        "at_risk_max": plan.at_risk_max,
        "watched_s": round(rollout.watched_ms / 1_000, 1),
        "cohorts": cohorts,
        "guards": [to_builtins(finding) for finding in rollout.findings],
        "left_out": rollout.left_out,
        "ended": ended(rollout),
    }


def devices(rollout: Rollout) -> list[dict[str, Any]]:
    """Each device of a rollout, without its sums."""
    bare = (structs.replace(member, sums=None) for member in rollout.members.values())
    return [
        {
            "device": member.device,
            "cohort": rollout.plan.named(member.cohort),
            "state": member.state,
            "before": member.before,
            "stage": member.stage,
            "decisions": member.decisions,
            "silent": member.silent,
            "reason": member.reason,
        }
        for member in bare
    ]


def in_words(told: dict[str, Any]) -> list[str]:
    """A summary for people."""
    lines = [f"{told['rollout']}  {told['bundle']} {told['version']}: {told['state']}"]
    if told["reason"]:
        lines.append(f"  why: {told['reason']}")
    lines.append(f"  {told['touched']} devices were asked, {told['at_risk']} at risk (at most {told['at_risk_max']})")
    for cohort in told["cohorts"]:
        states = ", ".join(f"{count} {state}" for state, count in cohort["states"].items()) or "nobody"
        silent = f", {cohort['silent']} silent" if cohort["silent"] else ""
        lines.append(f"  {cohort['name']:<20} {cohort['devices']:>6} devices: {states}{silent}")
    lines += [f"  waits for {one}" for one in told["waits_for"]]
    lines += [f"  {'BREACH ' if g['breached'] else ''}{g['guard']}: {g['text']}" for g in told["guards"]]
    lines += [f"  {device} takes no part: {why}" for device, why in list(told["left_out"].items())[:10]]
    return lines
