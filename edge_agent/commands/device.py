"""What is done once on a device: its keys."""

from pathlib import Path

import click

from edge_agent.commands.options import json_option, show, state_option


@click.group()
def keys() -> None:
    """This device's keys."""


@keys.command("new")
@state_option
@click.option("--force", is_flag=True, help="Replace a key that is there; the device must be enrolled again.")
@json_option
def new_key(state_dir: Path, force: bool, as_json: bool) -> None:
    """Make this device's node key: node.key stays here, node.pub goes to `edge-coordinator nodes enrol`."""
    from edge_agent.shell.keys import make

    private, public = make(state_dir, force=force)
    show({"private": str(private), "public": str(public)}, f"{private} (keep it here)\n{public} (enrol this)", as_json)
