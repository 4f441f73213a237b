"""What several commands have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from firmware_configs.cli_group import JSON_HELP

DEFAULT_HOME = "~/.edgeward"


def _home_option(taken: Callable[[Path], Path]) -> Callable[[click.decorators.FC], click.decorators.FC]:
    def given(context: click.Context, _option: click.Parameter, value: str) -> Path:
        # `dashboard --home X users ls` means X: what was typed for the group counts before a default or a variable.
        at: click.Context | None = context
        while at is not None and at.get_parameter_source("home") is not ParameterSource.COMMANDLINE:
            at = at.parent
        return taken(Path(value).expanduser() if at in (None, context) else at.params["home"])

    return click.option(
        "--home",
        default=DEFAULT_HOME,
        show_default=True,
        envvar="EDGE_COORDINATOR_HOME",
        help="Folder of keys, registry and database.",
        callback=given,
    )


def existing(home: Path) -> Path:
    """The same home, when it is there.

    Raises:
        NotRunning: it is not.
    """
    from coordinator.errors import NotRunning

    if not home.is_dir():
        raise NotRunning(
            f"no coordinator in {home}",
            hint=f"name its folder with --home, or start one: edge-coordinator up --home {home}",
        )
    return home


home_option = _home_option(lambda home: home)
existing_home_option = _home_option(existing)
"""For commands that look at what there is, or change it: a mistyped folder must not be made, and then found empty."""
json_option = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)


def show(data: Any, text: str, as_json: bool) -> None:
    """Print the document, or the text."""
    from firmware_configs import shown

    if as_json:
        import json

        click.echo(shown.document(json.dumps(data, indent=2, ensure_ascii=False)))
    else:
        click.echo(shown.block(text))
