"""What several commands have in common."""

from pathlib import Path
from typing import Any

import click

from firmware_configs.cli_group import JSON_HELP

DEFAULT_HOME = "~/.edgeward"

home_option = click.option(
    "--home",
    default=DEFAULT_HOME,
    show_default=True,
    envvar="EDGE_COORDINATOR_HOME",
    help="Folder of keys, registry and database.",
    callback=lambda _c, _p, value: Path(value).expanduser(),
)
json_option = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)


def show(data: Any, text: str, as_json: bool) -> None:
    """Print the document, or the text."""
    from firmware_configs import shown

    if as_json:
        import json

        click.echo(shown.document(json.dumps(data, indent=2, ensure_ascii=False)))
    else:
        click.echo(shown.block(text))
