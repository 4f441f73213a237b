"""`edge-models bench`: quality under published protocols, beside published and centralised results."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from firmware_configs.cli_group import JSON_HELP

if TYPE_CHECKING:
    from models.bench.ml_100k import Report, Row

RATINGS = "ml-100k/ratings.dat"
RATINGS_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
"""Looked for before anything is trained."""


@click.group()
def bench() -> None:
    """Measure quality beside published results and centralised references."""


@bench.command(name="ml-100k")
@click.option("--ratings", type=RATINGS_FILE, help=f"`user,item,rating,time` a line.  [default: {RATINGS}]")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 100), help="Trainings, seeds 0, 1, …")
@click.option("--validation", is_flag=True, help="Ask for the last but one item; for choosing hyper-parameters.")
@click.option("--no-references", is_flag=True, help="Leave out the centralised references.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def ml_100k(ratings: Path | None, seeds: int, validation: bool, no_references: bool, as_json: bool) -> None:
    """Federated recommendation, one person a client: HR@10 and NDCG@10 under the papers' protocol."""
    import msgspec

    from models.bench import ml_100k as bench_
    from models.datasets import find
    from models.errors import DatasetInvalid

    path = ratings or find(RATINGS)
    if path is None:
        raise DatasetInvalid(
            f"{RATINGS} was not found", hint="give --ratings FILE, or set EDGEWARD_DATA to the folder that holds it"
        )
    report = bench_.run(
        path,
        range(seeds),
        validation=validation,
        compared=not no_references,
        progress=lambda line: click.echo(line, err=True),
    )
    click.echo(msgspec.json.encode(report).decode() if as_json else _shown(report))


def _shown(report: "Report") -> str:
    head = f"{'':<44}{'HR@10':>14}{'NDCG@10':>15}{'all draws':>10}   full: HR@10  NDCG@10     MRR"
    lines = [report.protocol, "", head]
    lines += [_line(row) for row in (*report.table, *report.centralised)]
    low, high = report.hr10_interval
    counts = (
        f"{report.clients} clients, {report.items} items, {report.interactions} interactions, {report.rounds} rounds"
    )
    times = f"seeds {list(report.seeds)}; {report.seconds_federated:.0f} s federated, {report.seconds:.0f} s in all"
    return "\n".join(
        [
            *lines,
            "",
            counts,
            times,
            f"95 % interval of HR@10 over people, seed {report.seeds[0]}: {low:.2f} to {high:.2f}",
        ]
    )


def _line(row: "Row") -> str:
    def cell(value: float | None, sd: float | None = None) -> str:
        return "–" if value is None else f"{value:.2f}" + (f" ± {sd:.2f}" if sd is not None else "")

    name = f"{row.name} ({row.kind})" if row.kind != "ours" else row.name
    full = "   ".join(f"{cell(value):>6}" for value in (row.full_hr10, row.full_ndcg10, row.full_mrr))
    return (
        f"{name:<44}{cell(row.hr10, row.hr10_sd):>14}{cell(row.ndcg10, row.ndcg10_sd):>15}"
        f"{cell(row.hr10_all_draws):>10}   {full}"
    )


@bench.command()
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1, 100), help="Trainings, seeds 0, 1, …")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def occupancy(seeds: int, as_json: bool) -> None:
    """Room occupancy: accuracy and F1 beside logistic regression and gradient boosting. Needs [bench]."""
    import msgspec

    from models.bench import occupancy as bench_

    report = bench_.run(range(seeds))
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    click.echo(f"{report.protocol}\n\n{'':<22}{'accuracy':>15}{'F1':>15}{'AUC':>9}{'log loss':>10}{'ECE':>8}")
    for row in report.table:
        accuracy, f1 = f"{row.accuracy:.2f} ± {row.accuracy_sd:.2f}", f"{row.f1:.2f} ± {row.f1_sd:.2f}"
        click.echo(f"{row.name:<22}{accuracy:>15}{f1:>15}{row.auc:>9.4f}{row.log_loss:>10.4f}{row.ece:>8.4f}")
    for name, gain in report.gain.items():
        click.echo(f"accuracy over {name}: {gain.value:+.2f} points, 95 % {gain.low:+.2f} to {gain.high:+.2f}")


@bench.command(name="context")
@click.option("--ratings", type=RATINGS_FILE, help=f"For rhythm and other people.  [default: {RATINGS}]")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def ablations(ratings: Path | None, as_json: bool) -> None:
    """What each kind of context is worth: held-out log loss without it minus with everything."""
    import msgspec

    from models.bench import context as bench_
    from models.datasets import find

    report = bench_.run(ratings or find(RATINGS))
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    click.echo(f"{'data':<14}{'context':<28}{'worth, nats':>12}   95 % interval{'share of constant':>24}")
    for row in report.table:
        interval = f"{row.low:+.6f} to {row.high:+.6f}"
        click.echo(f"{row.data:<14}{row.group:<28}{row.value:>+12.6f}   {interval:<26}{row.share:>10.2%}")
    for what, why in report.not_measured.items():
        click.echo(f"not measured: {what}: {why}")
