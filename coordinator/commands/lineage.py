"""`edge-coordinator lineage`."""

from pathlib import Path

import click

from coordinator.commands.options import existing_home_option, json_option, show


@click.command()
@click.argument("bundle")
@click.argument("version", default="")
@existing_home_option
@json_option
def lineage(bundle: str, version: str, home: Path, as_json: bool) -> None:
    """Tell where VERSION of BUNDLE (default: the newest) comes from and where it runs.

    From the data and the rounds over its parents to what is attested, and on to the devices that want it or run it.
    """
    import msgspec

    from coordinator.lineage import tree
    from coordinator.shell.ancestry import ancestry

    found = ancestry(home, bundle, version)
    show([msgspec.to_builtins(one) for one in found], tree(found), as_json)
