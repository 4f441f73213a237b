"""`edge-models build`: train a model of the zoo and write its bundle."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from firmware_configs.cli_group import JSON_HELP
from models.zoo import FROM_RATINGS, SHIPPED, ZOO

if TYPE_CHECKING:
    from models.build import Options


@click.command()
@click.argument("name", type=click.Choice(ZOO), required=False)
@click.option("--all", "every", is_flag=True, help="Build all that ship with edgeward.")
@click.option(
    "--ratings",
    type=click.Path(path_type=Path),
    help="Learn from these, `user,item,rating,time` a line (comma, tab or ::).",
)
@click.option("--licence", default="", help="Licence of the ratings, written into the bundle.")
@click.option("--users", default="", help="Of the ratings, learn from these people only (ids, comma between).")
@click.option("--exclude-users", default="", help="Of the ratings, do not learn from these people; measure on them.")
@click.option("--version", "version", default="1.0.0", show_default=True, help="Version of the bundle, PEP 440.")
@click.option("--seed", default=0, show_default=True, help="Seed of everything random.")
@click.option(
    "--measured-on", default="", help="Measure time and memory, and write them into the card under this name."
)
@click.option("--epochs", default=0, type=click.IntRange(0, 1_000), help="Passes over the data; 0: the model's own.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    help="File, or existing folder.  [default: the folder you are in]",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def build(
    name: str | None,
    every: bool,
    ratings: Path | None,
    licence: str,
    users: str,
    exclude_users: str,
    version: str,
    seed: int,
    measured_on: str,
    epochs: int,
    out: Path,
    as_json: bool,
) -> None:
    """Train a model of the zoo, measure it and write its bundle. Needs neither torch nor tensorflow."""
    if (name is None) == (not every):
        raise click.UsageError("give one name, or --all")
    if name not in FROM_RATINGS and (ratings or users or exclude_users or licence):
        raise click.UsageError(f"--ratings, --licence, --users and --exclude-users belong to {', '.join(FROM_RATINGS)}")
    if ratings is None and (users or exclude_users or licence):
        raise click.UsageError("--licence, --users and --exclude-users need --ratings")
    if out.suffix == "" and not out.is_dir():
        raise click.UsageError(f"folder {out} does not exist; make it, or name a file ending in .edgeward")
    from models.build import Options, build_bundle

    options = Options(
        version=version,
        seed=seed,
        epochs=epochs,
        ratings=ratings,
        licence=licence,
        measured_on=measured_on,
        users=_ids(users),
        exclude_users=_ids(exclude_users),
    )
    for each in SHIPPED if every else (str(name),):
        built = build_bundle(each, options, out, _command(each, options))
        figures = {figure.name: round(figure.value, 6) for figure in built.figures}
        if as_json:
            click.echo(json.dumps({"bundle": str(built.path), "figures": figures}))
            continue
        click.echo(f"{built.path} ({built.path.stat().st_size:,} bytes)")
        for figure in built.figures:
            click.echo(f"  {figure.name:<32} {figure.value:9.5f}  {figure.note}")


def _ids(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _command(name: str, options: "Options") -> str:
    """What the card says to run; names no folder of the machine that built it."""
    words = ["edge-models", "build", name]
    if options.ratings is not None:
        words += ["--ratings", options.ratings.name]
    if options.users:
        words += ["--users", ",".join(sorted(options.users))]
    if options.exclude_users:
        words += ["--exclude-users", ",".join(sorted(options.exclude_users))]
    words += ["--epochs", str(options.epochs)] if options.epochs else []
    return shlex.join([*words, "--version", options.version, "--seed", str(options.seed)])
