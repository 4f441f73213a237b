"""`edge-coordinator experiments`: what was tried out on people, what it says, and where the traffic goes next."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.options import existing_home_option, json_option
from coordinator.commands.options import show as tell

if TYPE_CHECKING:
    from coordinator.shell.experiments import Shown


@click.group()
def experiments() -> None:
    """Experiments over all devices: sums added up, intervals that hold whenever one looks, privacy accounted for."""


@experiments.command("add")
@click.argument("profile", type=click.Path(path_type=Path))
@existing_home_option
@json_option
def add(profile: Path, home: Path, as_json: bool) -> None:
    """Take up the experiments of PROFILE, the device profile that the devices run."""
    from coordinator.shell.experiments import add as run
    from firmware_configs import designs

    plans = run(home, profile)
    rows = [{"experiment": plan.experiment.name, "plan": plan.hash} for plan in plans]
    lines = [line for plan in plans for line in designs.in_words(plan.experiment)]
    tell(rows, "\n".join(lines), as_json)


@experiments.command("ls")
@existing_home_option
@json_option
def list_experiments(home: Path, as_json: bool) -> None:
    """List experiments with what was last released of each."""
    from coordinator.shell.experiment_store import ExperimentStore

    store = ExperimentStore(home)
    rows = []
    for plan in store.plans():
        releases = store.releases(plan)
        rows.append(
            {
                "experiment": plan.experiment.name,
                "plan": plan.hash,
                "reports": len(store.reports(plan.experiment.name)),
                "releases": len(releases),
                "privacy": releases[-1].privacy if releases else "",
            }
        )
    lines = [
        f"{row['experiment']:<24} plan {row['plan']}  {row['reports']} reports, {row['releases']} releases"
        for row in rows
    ]
    tell(rows, "\n".join(lines) or "no experiment is known: edge-coordinator experiments add PROFILE", as_json)


@experiments.command("show")
@click.argument("name")
@existing_home_option
@json_option
def show(name: str, home: Path, as_json: bool) -> None:
    """Tell what NAME says: intervals, mismatch, verdict. Looking again never spoils the result.

    With noise for privacy it tells the newest release; `release` makes a new one and spends of the budget.
    """
    from coordinator.shell.experiments import show as run

    _tell(run(home, name), as_json)


@experiments.command("release")
@click.argument("name")
@existing_home_option
@json_option
def release(name: str, home: Path, as_json: bool) -> None:
    """Add up what devices have reported, blur it as the profile promises, account for it, and tell it."""
    from coordinator.shell.experiments import release as run

    _tell(run(home, name), as_json)


@experiments.command("allocate")
@click.argument("name")
@click.option("--dry-run", "dry", is_flag=True, help="Only say what would be done.")
@existing_home_option
@json_option
def allocate(name: str, dry: bool, home: Path, as_json: bool) -> None:
    """Move the traffic of NAME: prune arms that lose, promote one that wins, within the profile's guardrails."""
    from coordinator.shell.experiments import allocate as run

    proposal, number = run(home, name, dry=dry)
    data = {"experiment": name, "number": number, "shares": proposal.shares, "reasons": proposal.reasons, "dry": dry}
    lines = list(proposal.reasons) or ["nothing moves: no difference may be claimed, or too few people"]
    tell(data, "\n".join(lines), as_json)


def _tell(shown: "Shown", as_json: bool) -> None:
    import msgspec

    from coordinator.experiments import told

    data: dict[str, Any] = {
        **msgspec.to_builtins(shown.analysis),
        "release": shown.release.number,
        "devices": shown.release.devices,
        "privacy": shown.release.privacy,
        "epsilon": shown.release.epsilon if shown.release.noise else None,
        "noise": shown.release.noise,
        "alpha": shown.plan.experiment.alpha,
        "refused": shown.refused,
    }
    lines = told(shown.plan, shown.release, shown.analysis)
    lines += [f"  {device} does not count: {why}" for device, why in shown.refused.items()]
    tell(data, "\n".join(lines), as_json)
