"""`edge-coordinator simulate`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

from coordinator.commands.options import json_option, show

if TYPE_CHECKING:
    from coordinator.shell.simulation.run import Done


@click.command()
@click.option(
    "--plan", type=click.Path(path_type=Path, dir_okay=False), help="simulation.toml; see docs/simulation.md."
)
@click.option("--devices", default=1_000, show_default=True, type=click.IntRange(1, 10_000_000))
@click.option("--days", default=1, show_default=True, type=click.IntRange(1, 3_650))
@click.option(
    "--engine",
    default="vector",
    show_default=True,
    type=click.Choice(["vector", "single", "ray"]),
    help="vector: processes of this machine, clients trained side by side. single: the same, one by one. ray: Flower's "
    "simulation engine, on as many machines as its Ray has.",
)
@click.option("--processes", default=0, type=click.IntRange(0, 1_024), help="Default: one for each processor.")
@click.option(
    "--ray-address",
    default="",
    metavar="HOST:PORT",
    envvar="RAY_ADDRESS",
    show_envvar=True,
    help="With --engine ray: the head of a Ray cluster that this machine belongs to. Default: Ray is started here.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1))
@click.option(
    "--out", default="simulation", show_default=True, type=click.Path(path_type=Path, file_okay=False), help="Folder."
)
@click.option("--plots/--no-plots", default=True, show_default=True, help="Draw simulation.png and simulation.html.")
@click.option("--example", is_flag=True, help="Print a plan that runs, and do nothing; save it, and change it.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of simulation.toml, and do nothing.")
@json_option
@click.pass_context
def simulate(
    context: click.Context,
    plan: Path | None,
    devices: int,
    days: int,
    engine: str,
    processes: int,
    ray_address: str,
    seed: int,
    out: Path,
    plots: bool,
    example: bool,
    schema: bool,
    as_json: bool,
) -> None:
    """Live through a made-up fleet on the real agent, rounds and rollout; nothing of a real one is touched.

    Writes result.json (the same bytes for the same plan, devices, days and seed), run.json (what it took of this
    machine), simulation.png and simulation.html.

    \b
    edge-coordinator simulate --example > simulation.toml
    edge-coordinator simulate --plan simulation.toml --devices 2000 --days 2 --out build/simulation
    edge-coordinator simulate --plan simulation.toml --devices 100 --json --no-plots
    edge-coordinator simulate --plan simulation.toml --devices 2000 --engine ray --ray-address 10.0.0.1:6379
    """
    import msgspec

    from coordinator.simulation.plan import example_text, json_schema, load

    if example:
        click.echo(example_text(), nl=False)
        return
    if schema:
        import json

        click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return
    if plan is None:
        raise click.UsageError("--plan FILE is needed; `edge-coordinator simulate --example > FILE` writes one")
    given = context.get_parameter_source("ray_address") is ParameterSource.COMMANDLINE
    if given and engine != "ray":
        raise click.UsageError(f"--ray-address is for --engine ray; `{engine}` is of this machine alone")
    from coordinator.shell.simulation import report
    from coordinator.shell.simulation.run import simulate as run

    loaded = load(plan)
    with _screen() as screen:
        done = run(
            loaded,
            devices,
            days,
            seed,
            out,
            engine=engine,  # type: ignore[arg-type]
            count=processes,
            address=ray_address,
            say=screen.say,
            stage=screen.stage,
            progress=screen.progress,
        )
    written = report.write(done.result, done.cost, out) if plots else []
    data = {"result": msgspec.to_builtins(done.result), "cost": msgspec.to_builtins(done.cost), "folder": done.folder}
    show(data, told(done, [path.name for path in written]), as_json)


class _Screen(NamedTuple):
    say: Callable[[str], None]
    stage: Callable[[str, int], None]
    progress: Callable[[int], None]


@contextmanager
def _screen() -> Iterator[_Screen]:
    """A bar where somebody looks; lines elsewhere. Both on stderr: the result alone is on stdout."""
    if not sys.stderr.isatty():
        yield _Screen(lambda line: click.echo(line, err=True), lambda _what, _devices: None, lambda _devices: None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("devices", total=None)
        yield _Screen(
            lambda line: bars.console.print(line, markup=False, highlight=False),
            lambda what, count: bars.reset(bar, description=what, total=count or None),
            lambda count: bars.advance(bar, count),
        )


def told(done: "Done", written: list[str]) -> str:
    """What came out, as text."""
    found, cost = done.result, done.cost
    total, rows = found.totals, [one.row for one in found.rounds]
    accounted = sum(row.state in {"accounted", "published"} for row in rows)
    head = f"{found.devices:,} devices, {found.days} day{'s' if found.days > 1 else ''}, seed {found.seed}: "
    lines = [head + f"{total['events']:,} events, {total['decisions']:,} decisions, {cost.agent_steps:,} agent steps"]
    if rows:
        sent = f"{sum(row.reports for row in rows):,} reports, {sum(row.bytes_up for row in rows):,} bytes up"
        lines.append(f"rounds: {accounted} of {len(rows)} accounted, {sent}")
    if total["answered"]:
        lines.append(f"taken: {total['clicks'] / total['answered']:.1%} of {total['answered']:,} answered decisions")
    for arm, of in found.arms.items():
        taken = f"taken: {of['clicks'] / of['answered']:.1%} of {of['answered']:,}" if of["answered"] else "no answers"
        lines.append(f"arm {arm}: {of['decisions']:,} decisions, {taken}")
    if found.epsilon:
        lines.append(f"ε = {max(found.epsilon.values()):.3f} of {found.epsilon_max:g} at δ = {found.delta:g}")
    for one in found.rollouts:
        why = f": {one.reason}" if one.reason else ""
        lines.append(f"rollout of {one.bundle} {one.version}: {one.state}, {one.touched:,} devices asked{why}")
    lines.append(
        f"took {cost.wall_s:,.1f} s in {cost.processes} processes ({cost.cpu_s:,.1f} s of CPU, "
        f"{cost.rss_bytes / 2**20:,.0f} MiB); wrote {', '.join(['result.json', 'run.json', *written])} in {done.folder}"
    )
    return "\n".join(lines)
