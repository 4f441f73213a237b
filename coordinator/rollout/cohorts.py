"""Who is in which cohort: drawn by keyed hash, so that cohorts nest and who comes first changes with the key."""

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence

from coordinator.errors import PlanUnfit
from coordinator.rollout.plan import Plan

Tags = Mapping[str, Sequence[str]]
"""Device → its tags."""


def order(key: str, devices: Sequence[str]) -> list[str]:
    """The devices in the order in which they are drawn; the first n of it are in every cohort of n or more."""
    return sorted(devices, key=lambda device: hmac.new(key.encode(), device.encode(), hashlib.sha256).digest())


def eligible(plan: Plan, fleet: Tags) -> list[str]:
    """The devices that take part.

    Raises:
        PlanUnfit: the plan names a device that is not there, or nobody is left.
    """
    named = {*plan.fleet.devices, *(device for cohort in plan.cohort for device in cohort.devices)}
    if plan.guard.subgroup is not None:
        named |= {device for group in plan.guard.subgroup.groups.values() for device in group}
    if unknown := sorted(named - set(fleet)):
        known = ", ".join(sorted(fleet)[:8]) or "none"
        raise PlanUnfit(f"the plan names {', '.join(unknown[:8])}, not enrolled here", hint=f"enrolled: {known}")
    all_of_them = not (plan.fleet.devices or plan.fleet.tags)
    chosen = [
        device
        for device, tags in sorted(fleet.items())
        if all_of_them or device in plan.fleet.devices or set(tags) & set(plan.fleet.tags)
    ]
    if not chosen:
        raise PlanUnfit("no device takes part", hint="enrol devices, or widen [fleet] of the plan")
    return chosen


def cohorts(plan: Plan, fleet: Tags) -> list[list[str]]:
    """Each cohort's devices that are in no earlier one, in the order of the draw; some may be empty.

    Raises:
        PlanUnfit: as in `eligible`.
    """
    drawn = order(plan.draw_key, eligible(plan, fleet))
    taken: set[str] = set()
    found = []
    for cohort in plan.cohort:
        within = set(drawn[: math.ceil(cohort.share * len(drawn))])
        within |= {device for device in drawn if set(fleet[device]) & set(cohort.tags)}
        within |= set(cohort.devices)
        new = [device for device in drawn if device in within and device not in taken]
        taken |= set(new)
        found.append(new)
    return found


def groups_of(plan: Plan, device: str, tags: Sequence[str]) -> tuple[str, ...]:
    """The groups of [guard.subgroup] that a device is in."""
    subgroup = plan.guard.subgroup
    if subgroup is None:
        return ()
    named = [name for name, devices in subgroup.groups.items() if device in devices]
    return (*sorted(named), *sorted(set(tags) & set(subgroup.tags)))
