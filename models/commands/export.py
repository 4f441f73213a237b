"""`edge-models export`: write the zoo's graphs. Needs the [build] extra."""

import json
from pathlib import Path

import click

from firmware_configs.cli_group import JSON_HELP
from models.zoo import ZOO


@click.command()
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
