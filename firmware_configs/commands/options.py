"""What several commands have in common."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from firmware_configs import shown
from firmware_configs.cli_group import JSON_HELP

if TYPE_CHECKING:
    from firmware_configs.lineage import BundleNeeds

SHIPPED_BUNDLES = Path(__file__).parents[2] / "models" / "zoo" / "bundles"

json_option = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
bundle_option = click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Bundle file whose declared inputs count; repeat. Default: the shipped ones.",
)
out_option = click.option("--out", type=click.Path(path_type=Path), help="Write to this file instead of the screen.")


def needs(bundles: Sequence[Path]) -> "list[BundleNeeds]":
    """What the bundles declare; of the shipped ones where none is given."""
    from firmware_configs.bundle_needs import read_needs

    return [read_needs(path) for path in (bundles or sorted(SHIPPED_BUNDLES.glob("*.edgeward")))]


def document(data: Any) -> str:
    """One JSON document."""
    return shown.document(json.dumps(data, indent=2, ensure_ascii=False))


def deliver(text: str, out: Path | None) -> None:
    """Print the text, or write it whole to the file.

    Raises:
        UsageError: the file cannot be written.
    """
    if out is None:
        click.echo(text.rstrip("\n"))
        return
    from firmware_configs import whole_file
    from firmware_configs.errors import UsageError

    try:
        whole_file.write(out, (text if text.endswith("\n") else f"{text}\n").encode())
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}", hint="choose another --out") from None
    click.echo(f"wrote {out}", err=True)
