"""`edge-coordinator rounds`: runs and their rounds."""

from pathlib import Path
from typing import Any

import click

from coordinator.commands.options import existing_home_option, json_option, show


@click.group()
def rounds() -> None:
    """Runs and their rounds: what they did, and how one that was cut off goes on.

    \b
    edge-coordinator rounds ls
    edge-coordinator rounds show 20260101-120000-abcdef
    edge-coordinator rounds plot 20260101-120000-abcdef --out rounds.html
    edge-coordinator rounds resume 20260101-120000-abcdef
    edge-coordinator rounds abandon 20260101-120000-abcdef --reason "the wrong bundle"
    """


@rounds.command("ls")
@existing_home_option
@json_option
def list_rounds(home: Path, as_json: bool) -> None:
    """List runs with their rounds, newest first.

    ε is what the population had spent on the bundle, over all runs, once the run's last round was entered.
    """
    from coordinator.progress import size
    from coordinator.shell.told import rounds_table

    found = rounds_table(home)
    lines = []
    for run in found:
        told = f"→ {run['result']}" if run["result"] else run["failure"]
        told += f"  ε = {run['epsilon']:.3f}" if run["epsilon"] is not None else ""
        lines.append(f"{run['key']}  {run['bundle']} {run['version']} {run['state']} {told}".rstrip())
        lines += [
            f"  round {r['round']:<4} {r['state']:<10} {r['reports']}/{r['asked']} reports"
            f"  loss {_loss(r)}"
            f"  {size(r['bytes_up'])} up, {size(r['bytes_down'])} down  {r['seconds']:.1f} s"
            for r in run["rounds"]
        ]
    show(found, "\n".join(lines) or "no run yet", as_json)


@rounds.command("show")
@click.argument("run")
@existing_home_option
@json_option
def show_rounds(run: str, home: Path, as_json: bool) -> None:
    """Show RUN: every attempt of every round, with what it took and what was spent.

    ε is what the population has spent on the bundle in all, once the round was entered.
    """
    from coordinator.shell.told import run_told

    found = run_told(home, run)
    show(found, _told(found), as_json)


@rounds.command("plot")
@click.argument("run")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="rounds.png, or rounds.html: a page that stands by itself, with the numbers as a table.",
)
@existing_home_option
@json_option
def plot_rounds(run: str, out: Path, home: Path, as_json: bool) -> None:
    """Draw RUN: loss, participation, bytes and, of a private run, ε by round.

    \b
    edge-coordinator rounds plot 20260101-120000-abcdef --out rounds.html
    """
    from coordinator.shell.charts import missing, panels
    from coordinator.shell.plotting import plot

    found, drawn = plot(home, run, out)
    names, lacking = panels(drawn), missing(drawn)
    data = {"run": found.key, "file": str(out), "rounds": len(drawn.rounds), "drawn": list(names), "missing": lacking}
    told = f"{out}: {', '.join(names)} of {len(drawn.rounds):,} rounds"
    show(data, f"{told}; not drawn: {lacking}" if lacking else told, as_json)


@rounds.command("resume")
@click.argument("run")
@existing_home_option
@json_option
def resume_run(run: str, home: Path, as_json: bool) -> None:
    """Go on with RUN, which was cut off or has failed, from its last durable state.

    Rounds whose reports are here are not run again, nothing is spent twice, and a version that is published already is
    only deployed. `edge-coordinator up` must run.
    """
    import msgspec

    from coordinator.commands.training import told
    from coordinator.shell.train import resume

    done = resume(home, run, lambda line: click.echo(line, err=as_json))
    show(msgspec.to_builtins(done), told(done), as_json)


@rounds.command("abandon")
@click.argument("run")
@click.option("--reason", required=True, help="Kept with the run.")
@existing_home_option
@json_option
def abandon_run(run: str, reason: str, home: Path, as_json: bool) -> None:
    """Give RUN up for good: nothing of it is published, and what it has spent stays spent."""
    import msgspec

    from coordinator.shell.train import abandon

    rows = abandon(home, run, reason)
    data = {"run": run, "reason": reason, "rounds": [msgspec.to_builtins(row) for row in rows]}
    show(data, f"run {run} is given up; {len(rows)} rounds are used for nothing", as_json)


def _loss(row: dict[str, Any]) -> str:
    told = row["loss_before"] or row["loss_after"]
    return f"{row['loss_before']:.4f} → {row['loss_after']:.4f}" if told else "not told"


def _told(found: dict[str, Any]) -> str:
    result = f" → {found['result']}" if found["result"] else ""
    lines = [f"{found['key']}  {found['bundle']} {found['version']}{result}: {found['state']}"]
    if found["failure"]:
        lines.append(f"reason: {found['failure']}")
    for row in found["rounds"]:
        again = f".{row['attempt']}" if row["attempt"] > 1 else ""
        line = (
            f"  {row['round']}{again:<4} {row['state']:<10} {row['reports']}/{row['asked']} reports, "
            f"{row['refused']} refused, {row['late']} late; {row['bytes_up']:,} bytes up, {row['bytes_down']:,} down; "
            f"{row['seconds']:.1f} s"
        )
        line += f"; ε = {row['epsilon']:.3f}" if row["epsilon"] is not None else ""
        line += f"; late: {', '.join(row['late_devices'])}" if row["late_devices"] else ""
        lines.append(line + (f"; {row['reason']}" if row["reason"] else ""))
    if found["fix"]:
        lines.append(f"to go on: {found['fix']}")
    return "\n".join(lines)
