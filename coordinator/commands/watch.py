"""`edge-coordinator watch`: a run while it happens."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.options import existing_home_option

if TYPE_CHECKING:
    from coordinator.progress import Standing


@click.command()
@click.argument("run", default="")
@existing_home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line for each change.")
def watch(run: str, home: Path, as_json: bool) -> None:
    """Show RUN while it happens, until it ends; default: the newest that has not ended.

    On a terminal one table, elsewhere a line a change: round states, reports of those asked, refused and late ones,
    loss before → after, bytes, seconds, ε spent and left. Exit code 1 when the run was abandoned or nobody drives it
    any more. Ctrl-C ends the watching and leaves the run alone.

    \b
    edge-coordinator watch
    edge-coordinator watch 20260101-120000-abcdef --json | jq 'select(.change == "round")'
    """
    from coordinator.shell.watching import Watched, chosen, follow

    key = chosen(home, run)
    try:
        last = _shown(follow(Watched(home, key)), as_json)
    except KeyboardInterrupt:
        click.echo(f"run {key} is left as it is; see: edge-coordinator watch {key}", err=True)
        click.get_current_context().exit(130)
    if last.state != "published":
        click.get_current_context().exit(1)


def _shown(seen: "Iterator[Standing]", as_json: bool) -> "Standing":
    """Show the run until its end; returns how it stood then."""
    import sys

    now = next(seen)
    if not as_json and sys.stdout.isatty():
        from rich.console import Console

        from coordinator.shell.screen import live

        with live(Console()) as draw:
            draw(now)
            for now in seen:
                draw(now)
        return now
    _print(None, now, as_json)
    for later in seen:
        _print(now, later, as_json)
        now = later
    return now


def _print(before: "Standing | None", after: "Standing", as_json: bool) -> None:
    import msgspec

    from coordinator.progress import changes

    for change in changes(before, after):
        data = {"change": change.what, **change.data}
        # A loss that is no number is null.
        click.echo(msgspec.json.encode(data).decode() if as_json else change.text)
