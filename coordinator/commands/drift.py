"""`edge-coordinator drift`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.options import existing, home_option, json_option, show
from coordinator.commands.sums import sum_options

if TYPE_CHECKING:
    from coordinator.shell.declared_sum import Asked


@click.command()
@click.argument("bundle")
@click.option("--profile", type=click.Path(path_type=Path), help="The profile that the devices run: detectors, noise.")
@click.option("--where", multiple=True, metavar="SELECTION",
              help="A cohort alone, as `fleet ls --where` takes it; repeat, and all must hold.")  # fmt: skip
@sum_options
@home_option
@json_option
@click.pass_context
def drift(
    ctx: click.Context,
    bundle: str,
    profile: Path | None,
    where: Sequence[str],
    asked: "Asked",
    home: Path,
    as_json: bool,
) -> None:
    """How far the fleet has moved from what was usual, as the newest version of BUNDLE sees it: `[[drift]]` with fleet.

    Each device tells where its newest window lies in its own reference, and no value; these are added up in secret,
    with noise of their own. Exit code 1 when a detector has certainly moved, or when no sum came about.

    \b
    Examples:
      edge-coordinator drift context --profile home-gateway.toml
      edge-coordinator drift context --profile home-gateway.toml --where group:beta
      edge-coordinator drift context --last --json
    """
    import msgspec

    from coordinator.shell.fleet_drift import in_words, last, look

    existing(home)
    if profile is not None:
        found = look(home, bundle, profile, where, asked, lambda line: click.echo(line, err=as_json))
    else:
        found = last(home, bundle, where)
    show(msgspec.to_builtins(found), "\n".join(in_words(found)), as_json)
    ctx.exit(1 if any(one.verdict == "moved" for one in found.detectors) else 0)
