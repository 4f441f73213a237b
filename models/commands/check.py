"""`edge-models check`: whether a device should trust a bundle."""

import sys
from pathlib import Path

import click

from firmware_configs.cli_group import JSON_HELP


@click.command()
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
