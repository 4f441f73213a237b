"""`edge-coordinator evaluate`."""

from pathlib import Path

import click

from coordinator.commands.options import existing_home_option, json_option, show


@click.command()
@click.argument("bundle")
@click.option("--by", multiple=True, metavar="SEGMENT", help="A segment of the devices' profile; may be repeated.")
@click.option("--calibrate", default="none", type=click.Choice(["none", "temperature", "platt", "isotonic"]),
              help="Fit this to the counts, and publish it as a new version.")  # fmt: skip
@click.option("--publish", is_flag=True, help="Publish a new version with the measures on its card.")
@click.option("--minimum-reports", default=3, show_default=True, type=click.IntRange(1), help="Fewer tell nothing.")
@click.option("--join-s", default=30.0, show_default=True, help="Seconds to wait for devices.")
@click.option("--deadline-s", default=60.0, show_default=True, help="Seconds to wait for counts.")
@existing_home_option
@json_option
def evaluate(
    bundle: str,
    by: tuple[str, ...],
    calibrate: str,
    publish: bool,
    minimum_reports: int,
    join_s: float,
    deadline_s: float,
    home: Path,
    as_json: bool,
) -> None:
    """Measure the newest version of BUNDLE on the devices, told apart by segment. No update leaves them.

    Exit code 1 when too few devices told counts: nothing is told then.
    """
    import msgspec

    from coordinator.shell.evaluating import Asked
    from coordinator.shell.evaluating import evaluate as run

    asked = Asked(
        bundle=bundle,
        by=by,
        calibrate=calibrate,  # type: ignore[arg-type]
        publish=publish,
        minimum_reports=minimum_reports,
        join_s=join_s,
        deadline_s=deadline_s,
    )
    done = run(home, asked, lambda line: click.echo(line, err=as_json))
    lines = [f"{done.bundle} {done.version} on {done.devices} devices"]
    for name, one in done.groups.items():
        new = f" → {done.calibrated[name].ece:.4f}" if name in done.calibrated else ""
        lines.append(
            f"  {name:<20} {one.examples:>9,} examples  AUC {one.auc:.4f}  log loss {one.log_loss:.4f}  "
            f"ECE {one.ece:.4f}{new}"
        )
    if done.published:
        lines.append(f"published {done.bundle} {done.published}")
    show(msgspec.to_builtins(done), "\n".join(lines), as_json)
