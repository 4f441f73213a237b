"""`edge-models inspect` and `ls`: what a bundle, or a folder of them, says of itself."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from firmware_configs.cli_group import JSON_HELP

if TYPE_CHECKING:
    from models.bundle import Bundle

BUNDLES = Path(__file__).parent.parent / "zoo" / "bundles"


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--card", is_flag=True, help="Print the model card instead.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def inspect(path: Path, card: bool, as_json: bool) -> None:
    """Show what a bundle takes, gives, shares, keeps to itself, and costs on this machine."""
    import msgspec

    from models.bundle import open_bundle
    from models.cost import cost_of

    bundle = open_bundle(path)
    if card:
        click.echo(bundle.read("card.md").decode(), nl=False)
    elif as_json:
        document = {
            "sha256": bundle.sha256,
            "bytes": bundle.size,
            "storage": bundle.storage,
            "cost": cost_of(bundle),
            "spec": msgspec.to_builtins(bundle.spec),
        }
        click.echo(msgspec.json.encode(document).decode())
    else:
        click.echo(_summary(bundle))


@click.command(name="ls")
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


def _summary(bundle: "Bundle") -> str:
    from models.cost import cost_of
    from models.cost import lines as cost_lines
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
        how = f"lr {t.lr:g}, batch {t.batch}, epochs {t.epochs}, negatives {t.negatives}"
        lines.append(f"  train       {t.loss}, {t.optimiser}, {how}")
    if spec.catalogue:
        lines.append(f"  catalogue   {len(bundle.catalogue())} items")
    lines.append(f"  files       {', '.join(bundle.files)}; weights in {bundle.storage}")
    return "\n".join([*lines, *(f"  here        {line}" for line in cost_lines(cost_of(bundle)))])
