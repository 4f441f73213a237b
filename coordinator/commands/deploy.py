"""`edge-coordinator deploy`."""

from collections.abc import Sequence
from pathlib import Path

import click

from coordinator.commands.options import home_option, json_option, show


@click.command()
@click.argument("bundle")
@click.argument("version")
@click.option("--device", "devices", multiple=True, help="Only this device; repeat. Default: all.")
@home_option
@json_option
def deploy(bundle: str, version: str, devices: Sequence[str], home: Path, as_json: bool) -> None:
    """Ask devices to run VERSION of BUNDLE, which must be published."""
    from coordinator.shell.train import deploy as run

    asked = run(home, bundle, version, list(devices) or None)
    show({"bundle": bundle, "version": version, "devices": asked}, f"asked {len(asked)} devices", as_json)
