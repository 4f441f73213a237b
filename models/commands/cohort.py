"""`edge-models cohort`: new people who resemble real ones, and what can be said of them."""

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from firmware_configs.cli_group import JSON_HELP, FiniteRange

if TYPE_CHECKING:
    from models.cohort.checking import Report
    from models.cohort.generator import Generator, Settings
    from models.cohort.people import People
    from models.cohort.scores import Learning

RATINGS = "ml-100k/ratings.dat"
ratings_option = click.option(
    "--ratings", type=click.Path(path_type=Path), help=f"`user,item,rating,time` a line.  [default: {RATINGS}]"
)
households_option = click.option(
    "--households", type=click.Path(path_type=Path), help="`household,user` a line: who lives with whom."
)


def settings_options(command: click.decorators.FC) -> click.decorators.FC:
    """How much a generator may learn."""
    for option in (
        click.option(
            "--by",
            default="topics",
            show_default=True,
            type=click.Choice(["topics", "model"]),
            help="What items are drawn by: topics and pairs of items, or the scores of a trained model, whose people "
            "are of more use and give more away.",
        ),
        click.option(
            "--rank",
            default=8,
            show_default=True,
            type=click.IntRange(1, 256),
            help="With --by model: directions that items differ in; the rest is mostly what single people left.",
        ),
        click.option(
            "--groups",
            default=48,
            show_default=True,
            type=click.IntRange(1, 100_000),
            help="With --by model: groups of alike items; fewer hide people better and teach less.",
        ),
        click.option(
            "--order",
            default=0.9,
            show_default=True,
            type=FiniteRange(0.0, 10.0),
            help="With --by model: times how much the last items count; more teaches more and tells more of members.",
        ),
        click.option(
            "--liking",
            default=0.7,
            show_default=True,
            type=FiniteRange(0.0, 10.0),
            help="With --by model: times how much people differ in what they like.",
        ),
        click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of everything random."),
        click.option(
            "--k-min",
            default=8,
            show_default=True,
            type=click.IntRange(1, 1_000),
            help="What fewer people did is not told apart.",
        ),
        click.option(
            "--kinds", default=4, show_default=True, type=click.IntRange(1, 32), help="Kinds of daily rhythm."
        ),
        click.option("--topics", default=16, show_default=True, type=click.IntRange(1, 200), help="Topics of taste."),
    ):
        command = option(command)
    return command


@click.group()
def cohort() -> None:
    """Synthetic cohorts: new people who resemble real ones, for experiments before real people.

    A cohort here is a group of people who are drawn and do not exist. (`edge-coordinator cohort` is another thing: the
    devices that a round would ask.)

    \b
    edge-models cohort fit --ratings ratings.csv --out people.cohort
    edge-models cohort sample people.cohort --people 500 --seed 1 --out synthetic
    edge-models cohort check --ratings ratings.csv --seeds 5
    """


@cohort.command()
@ratings_option
@households_option
@settings_options
@click.option("--out", type=click.Path(path_type=Path), default=Path("people.cohort"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def fit(
    ratings: Path | None,
    households: Path | None,
    by: str,
    topics: int,
    kinds: int,
    k_min: int,
    rank: int,
    groups: int,
    order: float,
    liking: float,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Learn a generator from real people and write it as one file, with its card. Needs [cohort].

    \b
    edge-models cohort fit --ratings ratings.csv --households households.csv --out people.cohort
    """
    import msgspec

    from models.cohort import fitting
    from models.cohort.generator import pack
    from models.cohort.scores import Learning

    settings = _settings(by, topics, kinds, k_min, seed, Learning(rank=rank, groups=groups, order=order, liking=liking))
    path, people = _people(ratings, households)
    card = fitting.card_of(people, path, settings, _command(path, households, settings))
    made = fitting.fit(people, settings, card, lambda line: click.echo(line, err=True))
    raw = pack(made)
    out.write_bytes(raw)
    if as_json:
        click.echo(msgspec.json.encode({"generator": str(out), "bytes": len(raw), "card": card}).decode())
        return
    click.echo("\n".join([f"{out} ({len(raw):,} bytes)", *_card_lines(made)]))


@cohort.command()
@click.argument("generator", type=click.Path(path_type=Path))
@click.option("--people", default=1_000, show_default=True, type=click.IntRange(1, 1_000_000), help="How many.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed, the same people.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("synthetic"),
    show_default=True,
    help="Folder for ratings.csv, events.jsonl and, where people live together, households.csv.",
)
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    help="A day of the week that their time begins with; weekdays and hours stay.  [default: when the data begins]",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def sample(generator: Path, people: int, seed: int, out: Path, start: datetime | None, as_json: bool) -> None:
    """Draw new people from GENERATOR, which `fit` wrote.

    \b
    edge-models cohort sample people.cohort --people 500 --seed 1 --out synthetic
    edge-models cohort sample people.cohort --start 2026-11-30
    edge-models build affinity --ratings synthetic/ratings.csv
    """
    import msgspec

    from models.cohort.generator import read
    from models.cohort.sampling import moved, write
    from models.cohort.sampling import sample as draw

    made = read(generator)
    drawn = draw(made, people, seed)
    if start is not None:
        drawn = moved(drawn, made.rhythm.begins, start.replace(tzinfo=UTC).timestamp())
    paths = [str(path) for path in write(drawn, out)]
    told = {"people": len(drawn.users), "interactions": drawn.interactions, "files": paths}
    line = f"{told['people']:,} people, {told['interactions']:,} interactions: {', '.join(paths)}"
    click.echo(msgspec.json.encode(told).decode() if as_json else line)


@cohort.command()
@click.argument("generator", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def show(generator: Path, as_json: bool) -> None:
    """Tell what GENERATOR was made of, and what was promised of its people's privacy."""
    import msgspec

    from models.cohort.generator import read

    found = read(generator)
    click.echo(msgspec.json.encode(found.card).decode() if as_json else "\n".join(_card_lines(found)))


@cohort.command()
@ratings_option
@households_option
@settings_options
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1, 100), help="Partings, seeds 0, 1, …")
@click.option(
    "--times",
    default=1,
    show_default=True,
    type=click.IntRange(1, 100),
    help="People of a cohort for each that its generator was fitted on: more teach more, and tell a little more.",
)
@click.option(
    "--members",
    default=0.5,
    show_default=True,
    type=FiniteRange(0.1, 0.9),
    help="Share of the people whom a generator is fitted on; the attacker's own are a half of the rest.",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 100),
    help="Instead of --seeds and --members: everybody is left out once, in so many parts, and is judged by an attacker "
    "who has the rest of the part. Nearest to a cohort that is fitted on everybody.",
)
@click.option("--no-use", is_flag=True, help="Train no models: statistics and privacy only, in a minute.")
@click.option(
    "--learned",
    is_flag=True,
    help="Also the strongest attack that we know: somebody trains a model on the cohort and one on the people "
    "whom they know. Counts for the verdict.",
)
@click.option("--everybody", is_flag=True, help="Also as the bench does: everybody is learned from and asked.")
@click.option("--auc-max", default=0.55, show_default=True, type=FiniteRange(0.5, 1.0), help="Of membership.")
@click.option("--gap-max", default=5.0, show_default=True, type=FiniteRange(0.0, 100.0), help="Points of HR@10.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@click.pass_context
def check(
    ctx: click.Context,
    ratings: Path | None,
    households: Path | None,
    by: str,
    topics: int,
    kinds: int,
    k_min: int,
    rank: int,
    groups: int,
    order: float,
    liking: float,
    seed: int,
    seeds: int,
    times: int,
    members: float,
    folds: int | None,
    no_use: bool,
    learned: bool,
    everybody: bool,
    auc_max: float,
    gap_max: float,
    as_json: bool,
) -> None:
    """Look at cohorts of generators with these settings: how alike, whom they give away, of what use.

    Each seed fits a generator on a half of the people (--members); the others, and what they do, are what it is held
    to. Exit code 1 when an attack on membership is better than --auc-max, or training on the cohort loses more than
    --gap-max.

    \b
    edge-models cohort check --ratings ratings.csv --seeds 5
    edge-models cohort check --no-use --topics 64 --json
    edge-models cohort check --folds 10 --by model --k-min 3 --times 16
    """
    given = [name for name in ("seeds", "members") if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if folds is not None and given:
        raise click.UsageError(f"--folds says who is fitted on: leave out --{given[0]}")
    import msgspec

    from models.cohort import checking, fitting
    from models.cohort.scores import Learning

    settings = _settings(by, topics, kinds, k_min, seed, Learning(rank=rank, groups=groups, order=order, liking=liking))
    path, people = _people(ratings, households)
    card = fitting.card_of(people, path, settings, _command(path, households, settings))
    report = checking.check(
        people,
        card,
        range(seeds),
        lambda line: click.echo(line, err=True),
        use=not no_use,
        learned=learned,
        everybody=everybody,
        folds=folds,
        members=members,
        times=times,
        auc_max=auc_max,
        gap_max=gap_max,
    )
    click.echo(msgspec.json.encode(report).decode() if as_json else "\n".join(_report_lines(report)))
    ctx.exit(0 if report.passed else 1)


def _settings(by: str, topics: int, kinds: int, k_min: int, seed: int, learning: "Learning") -> "Settings":
    from models.cohort.generator import Settings

    return Settings(
        by="model" if by == "model" else "topics", topics=topics, kinds=kinds, k_min=k_min, learning=learning, seed=seed
    )


def _people(ratings: Path | None, households: Path | None) -> tuple[Path, "People"]:
    from models.cohort.people import people_of, read_households
    from models.datasets import find, read_ratings
    from models.errors import DatasetInvalid

    path = ratings or find(RATINGS)
    if path is None:
        raise DatasetInvalid(
            f"{RATINGS} was not found", hint="give --ratings FILE, or set EDGEWARD_DATA to the folder that holds it"
        )
    return path, people_of(read_ratings(path), read_households(households) if households is not None else None)


def _command(ratings: Path, households: Path | None, settings: "Settings") -> str:
    """What the card says to run; names no folder of the machine that fitted it."""
    words = ["edge-models", "cohort", "fit", "--ratings", ratings.name]
    words += ["--households", households.name] if households is not None else []
    for name in ("by", "topics", "kinds", "k_min", "seed"):
        words += [f"--{name.replace('_', '-')}", str(getattr(settings, name))]
    if settings.by == "model":
        words += ["--rank", str(settings.learning.rank), "--groups", str(settings.learning.groups)]
        words += ["--order", f"{settings.learning.order:g}", "--liking", f"{settings.learning.liking:g}"]
    return shlex.join(words)


def _card_lines(made: "Generator") -> list[str]:
    from models.cohort.scores import Scores

    card = made.card
    size = f"{card.people:,} people, {card.interactions:,} interactions, {len(made.catalogue):,} items"
    kinds = f"{len(made.rhythm.share)} kinds of rhythm"
    if isinstance(made.source, Scores):
        wide, rank = made.source.embedding.shape[1], card.settings.learning.rank
        parts = f"a model of {wide} dimensions, {min(wide, rank)} directions of them kept, {kinds}"
    else:
        pairs = f"{len(made.source.following.follower):,} pairs of items"
        parts = (
            f"{len(made.source.tastes.topics)} topics, {kinds}, {pairs} that {card.settings.k_min} or more went between"
        )
    return [
        f"fitted on {card.data}, {card.first} to {card.last}: {size}"
        + (", with households" if card.households else ""),
        parts,
        card.privacy,
        f"again: {card.command}",
    ]


def _report_lines(report: "Report") -> list[str]:
    turn = "seed" if report.folds is None else "fold"
    lines = [f"{report.data}: {report.people:,} people, {turn}s {list(report.seeds)}, {report.seconds:.0f} s"]
    lines.append(f"each {turn}: a generator of {report.members:.0%} of them, a cohort of {report.times} for each")
    lines.append("")
    lines.append(f"{'resemblance, 0 is alike':<32}{'':>4}{'cohort':>10}{'halves of the real':>20}")
    lines += [f"{one.name:<32}{one.measure:>4}{one.value:>10.3f}{one.halves:>20.3f}" for one in report.statistics]
    lines += ["", f"{'membership, 0.5 is a guess':<32}{'AUC':>14}   95 % over {turn}s"]
    for one in report.attacks:
        name = f"{one.name}, on the {one.on}"
        lines.append(f"{name:<32}{one.auc.value:>14.3f}   {one.auc.low:.3f} to {one.auc.high:.3f}")
    for seed, near in zip(report.seeds, report.nearest, strict=True):
        lines.append(
            f"{turn} {seed}: nearest member at {near.to_members:.3f}, nearest other at {near.to_others:.3f} (ratio "
            f"{near.ratio:.3f}); {near.closer_to_members:.1%} nearer to a member; {near.copies} copies"
        )
    for use in (*report.use, *report.other_use):
        real, synthetic = sum(use.real) / len(use.real), sum(use.synthetic) / len(use.synthetic)
        lost = f"{use.gap.value:+.2f} points lost, 95 % {use.gap.low:+.2f} to {use.gap.high:+.2f}"
        lines += ["", f"HR@10 of {use.people} people ({use.asked}), {use.by}:"]
        lines.append(f"{real:.2f} trained on real people, {synthetic:.2f} on the cohort; {lost}")
    gap = "" if report.hr10_gap is None else f", {report.hr10_gap:.2f} points lost (at most {report.gap_max:g})"
    verdict = "passed" if report.passed else "NOT passed"
    return [*lines, "", f"{verdict}: membership AUC {report.membership_auc:.3f} (at most {report.auc_max:g}){gap}"]
