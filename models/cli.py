"""`edge-models`: build, inspect, check, list and export bundles."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from firmware_configs.cli_group import JSON_HELP, EdgeGroup

if TYPE_CHECKING:
    from models.build import Options
    from models.bundle import Bundle

ZOO = ("affinity", "context", "propensity")
BUNDLES = Path(__file__).parent / "zoo" / "bundles"
EXAMPLES = """
edge-models ls
edge-models build context
edge-models build affinity --ratings ratings.csv --exclude-users 7,42 --out affinity-1.0.0.edgeward
edge-models inspect affinity-1.0.0.edgeward
edge-models check --backend both context-1.0.0.edgeward
edge-models export --all
"""


@click.group(
    cls=EdgeGroup,
    name="edge-models",
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def main() -> None:
    """Build and judge model bundles: one file that predicts, learns, and says what it needs."""


@main.command()
@click.argument("name", type=click.Choice(ZOO), required=False)
@click.option("--all", "every", is_flag=True, help="Build all of the zoo.")
@click.option(
    "--ratings",
    type=click.Path(path_type=Path),
    help="affinity: `user,item,rating,time` a line (comma, tab or ::).",
)
@click.option("--licence", default="", help="affinity: licence of the ratings, written into the bundle.")
@click.option("--users", default="", help="affinity: learn from these people only (ids, comma between).")
@click.option("--exclude-users", default="", help="affinity: do not learn from these people; measure on them.")
@click.option("--version", "version", default="1.0.0", show_default=True, help="Version of the bundle, PEP 440.")
@click.option("--seed", default=0, show_default=True, help="Seed of everything random.")
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
    epochs: int,
    out: Path,
    as_json: bool,
) -> None:
    """Train a model of the zoo, measure it and write its bundle. Needs neither torch nor tensorflow."""
    if (name is None) == (not every):
        raise click.UsageError("give one name, or --all")
    if name != "affinity" and (ratings or users or exclude_users or licence):
        raise click.UsageError("--ratings, --licence, --users and --exclude-users belong to `build affinity`")
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
        users=_ids(users),
        exclude_users=_ids(exclude_users),
    )
    for each in ZOO if every else (str(name),):
        built = build_bundle(each, options, out, _command(each, options))
        figures = {figure.name: round(figure.value, 6) for figure in built.figures}
        if as_json:
            click.echo(json.dumps({"bundle": str(built.path), "figures": figures}))
            continue
        click.echo(f"{built.path} ({built.path.stat().st_size:,} bytes)")
        for figure in built.figures:
            click.echo(f"  {figure.name:<32} {figure.value:9.5f}  {figure.note}")


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--card", is_flag=True, help="Print the model card instead.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def inspect(path: Path, card: bool, as_json: bool) -> None:
    """Show what a bundle takes, gives, shares and keeps to itself."""
    import msgspec

    from models.bundle import open_bundle

    bundle = open_bundle(path)
    if card:
        click.echo(bundle.read("card.md").decode(), nl=False)
    elif as_json:
        document = {"sha256": bundle.sha256, "bytes": bundle.size, "spec": msgspec.to_builtins(bundle.spec)}
        click.echo(msgspec.json.encode(document).decode())
    else:
        click.echo(_summary(bundle))


@main.command()
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--backend", type=click.Choice(["onnx", "tflite", "both"]), default="both", show_default=True)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def check(paths: tuple[Path, ...], backend: str, as_json: bool) -> None:
    """Check form, hashes, operators and golden outputs; exit 1 when something is wrong."""
    import msgspec

    from models.check import check_bundle

    found = {str(path): check_bundle(path, backend) for path in paths}  # type: ignore[arg-type]
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        for path, findings in found.items():
            click.echo(f"{path}: {'ok' if not findings else 'refused'}")
            for one in findings:
                click.echo(f"  [{one.code}] {one.where}: {one.what}\n    fix: {one.fix}", err=True)
    sys.exit(1 if any(found.values()) else 0)


@main.command()
@click.argument("name", type=click.Choice(ZOO), required=False)
@click.option("--all", "every", is_flag=True, help="Export all of the zoo.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the graphs.  [default: the zoo's]")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def export(name: str | None, every: bool, out: Path | None, as_json: bool) -> None:
    """Write the graphs (predict, train step, TFLite) from their definition. Needs the [build] extra."""
    if (name is None) == (not every):
        raise click.UsageError("give one name, or --all")
    from models.build import GRAPHS, zoo_module
    from models.export import write_graphs

    written: list[Path] = []
    for each in ZOO if every else (str(name),):
        written += write_graphs(zoo_module(each).ARCHITECTURE, (out or GRAPHS) / each)
    sizes = {str(path): path.stat().st_size for path in written}
    click.echo(json.dumps(sizes) if as_json else "\n".join(f"{path} ({size:,} bytes)" for path, size in sizes.items()))


@main.command(name="ls")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=BUNDLES)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def list_bundles(folder: Path, as_json: bool) -> None:
    """List the bundles of a folder; without one, those that ship with edgeward."""
    from models.bundle import SUFFIX, open_bundle

    bundles = [open_bundle(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    if as_json:
        rows = [{"name": b.spec.name, "version": b.spec.version, "bytes": b.size, "path": str(b.path)} for b in bundles]
        click.echo(json.dumps(rows))
        return
    for bundle in bundles:
        spec = bundle.spec
        click.echo(f"{spec.name:<14} {spec.version:<10} {bundle.size:>10,}  {spec.licence:<12} {spec.summary}")


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


def _summary(bundle: "Bundle") -> str:
    from models.spec import feature_names

    spec = bundle.spec
    lines = [
        f"{spec.name} {spec.version}  ({bundle.size:,} bytes, sha256 {bundle.sha256[:16]}…)",
        f"  {spec.summary}",
        f"  licence     {spec.licence}",
        f"  task        {spec.task}, calibration {spec.calibration.method}",
        f"  parents     {', '.join(spec.parents) or 'none'}",
        f"  needs       {', '.join(spec.needed_fields) or 'no fields'}",
    ]
    for given in spec.inputs:
        names = feature_names(given)
        shown = ", ".join(names[:6]) + (f", … ({len(names)} columns)" if len(names) > 6 else "")
        lines.append(f"  input       {given.name} {given.dtype} {list(given.shape)} from {given.from_}  {shown}")
    lines += [f"  {p.share:<11} {p.name} {p.dtype} {list(p.shape)} starts from {p.init}" for p in spec.parameters]
    if spec.train is not None:
        t = spec.train
        lines.append(f"train       {t.loss}, lr {t.lr:g}, batch {t.batch}, epochs {t.epochs}, negatives {t.negatives}")
    if spec.catalogue:
        lines.append(f"  catalogue   {len(bundle.catalogue())} items")
    return "\n".join([*lines, f"  files       {', '.join(bundle.files)}"])
