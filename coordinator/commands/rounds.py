"""`edge-coordinator rounds`: runs and their rounds."""

from pathlib import Path

import click

from coordinator.commands.options import home_option, json_option, show


@click.group()
def rounds() -> None:
    """Runs and their rounds."""


@rounds.command("ls")
@home_option
@json_option
def list_rounds(home: Path, as_json: bool) -> None:
    """List runs with their rounds, newest first."""
    from coordinator.shell.train import rounds_table

    found = rounds_table(home)
    lines = []
    for run in found:
        state = run["failure"] or (f"→ {run['result']}" if run["result"] else "running")
        lines.append(f"{run['key']}  {run['bundle']} {run['version']} {state}")
        lines += [
            f"  round {r['round']:<4} {r['state']:<10} {r['reports']}/{r['asked']} reports"
            f"  loss {r['loss_before']:.4f} → {r['loss_after']:.4f}  {r['seconds']:.1f} s"
            for r in run["rounds"]
        ]
    show(found, "\n".join(lines) or "no run yet", as_json)
