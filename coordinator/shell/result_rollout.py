"""The plan by which a run's result reaches devices: checked before the run, kept with it, begun with its result.

It is kept as it was when the run began, because a run goes on after hours and kills, and the file may change meanwhile.
"""

from pathlib import Path

from msgspec import structs

from coordinator.errors import PlanUnfit
from coordinator.rollout.plan import Plan, load
from coordinator.rollout.state import Rollout
from coordinator.shell.checkpoint import write_durably
from coordinator.shell.request import Request
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.rollouts import foreseen, start

FILE = "rollout.toml"


def plan_of(request: Request) -> Plan | None:
    """The plan that the request names; None: it names none.

    Raises:
        PlanUnfit: it is of another bundle.
        PlanUnreadable, PlanMalformed, PlanInconsistent: see `coordinator.rollout.plan.load`.
    """
    if not request.rollout:
        return None
    plan = load(Path(request.rollout))
    if plan.bundle != request.bundle:
        raise PlanUnfit(
            f"{request.rollout} rolls out {plan.bundle}, not {request.bundle}", hint="name the same in both"
        )
    return plan


def refuse_unfit(home: Path, plan: Plan, version: str) -> None:
    """Refuse a plan that nobody could take part in as things are: after the run would be too late.

    Args:
        version: the one that the run's result may get.
    Raises:
        PlanUnfit: nobody can take part, or the plan names devices that are not enrolled.
    """
    foreseen(home, structs.replace(plan, version=version))


def keep(folder: Path, request: Request) -> None:
    """Keep the plan's text with the run, where the request names one."""
    if request.rollout:
        write_durably(folder / FILE, Path(request.rollout).read_bytes())


def begin(home: Path, folder: Path, bundle: str, version: str) -> Rollout:
    """Begin the rollout of a run's result, unless that was done before the run was cut off.

    Raises:
        RolloutTaken: another rollout of the bundle has not ended.
        PlanUnfit, UnknownDevice: nobody can take part any more.
    """
    store = RolloutStore(home)
    begun = [one for one in store.all() if (one.plan.bundle, one.plan.version) == (bundle, version)]
    store.close()
    if begun:
        return begun[0]
    return start(home, structs.replace(load(folder / FILE), version=version))
