"""A rollout before its first step: who takes part, in which cohort, and what each goes back to."""

from collections.abc import Mapping

from coordinator.errors import PlanUnfit
from coordinator.rollout.cohorts import Tags, cohorts, groups_of
from coordinator.rollout.plan import Plan
from coordinator.rollout.state import Member, Rollout


def begin(key: str, plan: Plan, fleet: Tags, serving: Mapping[str, str], registry: str, now_ms: int) -> Rollout:
    """The rollout, planned.

    Args:
        fleet: enrolled devices and their tags.
        serving: device → version of the plan's bundle that it runs, or was last asked for; left out: none.
    Raises:
        PlanUnfit: nobody is left who could take part.
    """
    members: dict[str, Member] = {}
    left_out: dict[str, str] = {}
    for number, devices in enumerate(cohorts(plan, fleet)):
        for device in devices:
            before = serving.get(device, "")
            if not before:
                left_out[device] = f"runs no {plan.bundle}: there is nothing to go back to"
            elif before == plan.version:
                left_out[device] = f"runs {plan.version} already"
            else:
                members[device] = Member(
                    device=device, cohort=number, before=before, groups=groups_of(plan, device, fleet[device])
                )
    if not members:
        why = next(iter(left_out.values()), "no cohort has a device")
        raise PlanUnfit(
            f"nobody can take part: {why}", hint=f"a first version is deployed without a plan: deploy {plan.bundle} …"
        )
    return Rollout(key=key, plan=plan, registry=registry, members=members, left_out=left_out, started_ms=now_ms)
