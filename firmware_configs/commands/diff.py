"""`edge-audit diff`: what a new version changes for people."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from firmware_configs.commands.options import deliver, document, json_option, out_option
from firmware_configs.shown import counted, line

if TYPE_CHECKING:
    from firmware_configs.widening import Change

MARKS = {"widens": ("+", "red"), "narrows": ("-", "green"), "changes": ("~", "yellow")}
WORDS = {
    "widens": "More is collected, kept, decided, sent or switched",
    "narrows": "Less is",
    "changes": "Otherwise different",
}


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--fail-on", type=click.Choice(["widen", "any"]), help="Exit with 1 when something widens, or differs.")
@out_option
@json_option
@click.pass_context
def diff(ctx: click.Context, old: Path, new: Path, fail_on: str | None, out: Path | None, as_json: bool) -> None:
    """Say what NEW changes against OLD: what more, of whom, for what, how long, to where.

    What cannot be shown to be less counts as more. Exit code 1 with --fail-on and a reason to fail.
    """
    import msgspec

    from firmware_configs.loader import load
    from firmware_configs.widening import changes

    before, after = load(old).profile, load(new).profile
    found = changes(before, after)
    wider = [change for change in found if change.direction == "widens"]
    if as_json:
        data = {
            "old": {"name": before.name, "version": before.version},
            "new": {"name": after.name, "version": after.version},
            "widens": bool(wider),
            "changes": msgspec.to_builtins(found),
        }
        deliver(document(data), out)
    else:
        head = f"{before.name} {before.version} → {after.name} {after.version}"
        deliver("\n".join([head, *_grouped(found, colours=out is None), _verdict(len(wider), len(found))]), out)
    ctx.exit(1 if (fail_on == "widen" and wider) or (fail_on == "any" and found) else 0)


def _grouped(found: "tuple[Change, ...]", *, colours: bool) -> list[str]:
    lines = []
    for direction, (mark, colour) in MARKS.items():
        own = [change for change in found if change.direction == direction]
        if own:
            lines.append(f"{WORDS[direction]}:")
        for change in own:
            sign = click.style(mark, fg=colour) if colours else mark
            lines.append(f"  {sign} {line(change.what)}  ({line(change.where)})")
    return lines


def _verdict(wider: int, found: int) -> str:
    if not found:
        return "nothing has changed"
    if not wider:
        return f"{counted(found, 'change')}; nothing widens"
    widens = f"{wider} of them {'widens' if wider == 1 else 'widen'}" if found > 1 else "and it widens"
    return f"{counted(found, 'change')}, {widens}: two people must agree, and [approval] says who and why"
