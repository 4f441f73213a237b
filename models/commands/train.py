"""`edge-models train`: a bundle by a pipeline whose steps are named in a config."""

import json
from pathlib import Path

import click

from firmware_configs.cli_group import JSON_HELP


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def train(config: Path, as_json: bool) -> None:
    """Run CONFIG: data, features, train, calibrate, quantise, evaluate, card, sign.

    Every step is cached: a run that was killed goes on where it stopped.
    """
    from models.pipeline.config import read_config
    from models.pipeline.run import run

    done = run(
        read_config(config),
        config.parent,
        lambda stage, what, seconds: click.echo(f"{stage:<10} {what:<28} {seconds:6.1f} s", err=True),
    )
    figures = json.loads(done.files.get("figures.json", b"{}"))
    if as_json:
        click.echo(json.dumps({"bundle": str(done.path), "cached": done.cached, "figures": figures}))
        return
    click.echo(f"{done.path} ({done.path.stat().st_size:,} bytes)")
    for figure in figures.get("build", ()):
        click.echo(f"  {figure['name']:<32} {figure['value']:9.5f}  {figure['note']}")
    for name in figures.get("served", {}):
        click.echo(f"  {name:<12} graph {figures['graph'][name]:9.5f}   served {figures['served'][name]:9.5f}")
