"""`edge-coordinator deploy`."""

from collections.abc import Sequence
from pathlib import Path

import click

from coordinator.commands.options import existing_home_option, json_option, show


@click.command()
@click.argument("bundle")
@click.argument("version")
@click.option("--device", "devices", multiple=True, help="Only this device; repeat. Default: all.")
@click.option(
    "--rollout", "plan", type=click.Path(path_type=Path), help="Cohort by cohort, as this plan (rollout.toml) says."
)
@existing_home_option
@json_option
def deploy(bundle: str, version: str, devices: Sequence[str], plan: Path | None, home: Path, as_json: bool) -> None:
    """Ask devices to run VERSION of BUNDLE, which must be published."""
    from coordinator.shell import rollouts
    from coordinator.shell.train import deploy as run

    if plan is not None:
        if devices:
            raise click.UsageError("who gets it when stands in the plan: leave out --device")
        begun = rollouts.summary(rollouts.start_of(home, bundle, version, plan))
        show(begun, "\n".join(rollouts.in_words(begun)), as_json)
        return
    rollouts.refuse_while_rolling_out(home, bundle)
    asked = run(home, bundle, version, list(devices) or None)
    show({"bundle": bundle, "version": version, "devices": asked}, f"asked {len(asked)} devices", as_json)
