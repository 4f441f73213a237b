"""`edge-coordinator backup` and `restore`."""

from pathlib import Path

import click

from coordinator.commands.options import home_option, json_option, show


@click.command()
@click.argument("to", type=click.Path(path_type=Path))
@home_option
@json_option
def backup(to: Path, home: Path, as_json: bool) -> None:
    """Copy the whole home into the new folder TO, beside a running `up`, too.

    The copy holds every private key that the home holds: keep it as you keep those.

    Example: edge-coordinator backup /mnt/backup/2026-11-29
    """
    from coordinator.shell.backup import backup as run

    made = run(home, to)
    data = {"folder": str(to), "files": len(made.files), "bytes": made.size, "made_ms": made.made_ms}
    show(data, f"{len(made.files)} files, {made.size:,} bytes in {to}; it holds private keys", as_json)


@click.command()
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path))
@home_option
@json_option
def restore(source: Path, home: Path, as_json: bool) -> None:
    """Make the home, which must not be there yet, from the copy FROM, every byte of which is checked first.

    What to do afterwards, so that devices believe it: docs/playbooks/coordinator-restore.md.

    Example: edge-coordinator restore /mnt/backup/2026-11-29 --home ./rehearsal
    """
    from coordinator.shell.backup import restore as run

    made = run(source, home)
    data = {"home": str(home), "files": len(made.files), "bytes": made.size, "made_ms": made.made_ms}
    text = f"{len(made.files)} files, {made.size:,} bytes in {home}\nnext: docs/playbooks/coordinator-restore.md"
    show(data, text, as_json)
