"""`edge-coordinator bias`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.options import existing, home_option, json_option, show
from coordinator.commands.sums import sum_options

if TYPE_CHECKING:
    from coordinator.shell.declared_sum import Asked


@click.command()
@click.argument("bundle")
@click.option(
    "--profile", type=click.Path(path_type=Path), help="The profile that the devices run: groups, limits, noise."
)
@sum_options
@home_option
@json_option
@click.pass_context
def bias(
    ctx: click.Context,
    bundle: str,
    profile: Path | None,
    asked: "Asked",
    home: Path,
    as_json: bool,
) -> None:
    """Whom the newest version of BUNDLE serves worse, and who is shown what: gaps between the groups of a profile.

    Devices count their own examples and decisions; their counts are added up in secret, with noise of their own. Exit
    code 1 when a gap certainly exceeds its limit, or when no sum came about.
    """
    import msgspec

    from coordinator.shell.bias import in_words, last, look

    existing(home)
    if profile is not None:
        found = look(home, bundle, profile, asked, lambda line: click.echo(line, err=as_json))
    else:
        found = last(home, bundle)
    show(msgspec.to_builtins(found), "\n".join(in_words(found)), as_json)
    ctx.exit(1 if any(gap.verdict == "exceeds" for gap in found.gaps) else 0)
