"""Options that several commands share, and how they print."""

from pathlib import Path
from typing import Any

import click

from firmware_configs.cli_group import JSON_HELP

DEFAULT_STATE = "/var/lib/edgeward"

json_option = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
state_option = click.option(
    "--state-dir",
    default=DEFAULT_STATE,
    show_default=True,
    envvar="EDGE_AGENT_STATE_DIR",
    type=click.Path(path_type=Path),
    help="The agent's folder (state_dir in agent.toml).",
)
settings_option = click.option(
    "--settings",
    "settings_path",
    default="agent.toml",
    show_default=True,
    envvar="EDGE_AGENT_SETTINGS",
    type=click.Path(path_type=Path),
    help="Settings file; every option: firmware_configs/reference/agent.toml.",
)
reason_option = click.option(
    "--reason",
    default="",
    envvar="EDGE_AGENT_REASON",
    help="Why you look; it is entered with your name (`edge-agent access log`).",
)
profile_option = click.option(
    "--profile", type=click.Path(path_type=Path), help="Device profile; overrides the settings' own."
)


def show(data: Any, text: str, as_json: bool) -> None:
    """One JSON document, or words for people."""
    import json

    from firmware_configs import shown

    whole = shown.document(json.dumps(data, indent=2, ensure_ascii=False)) if as_json else shown.block(text)
    click.echo(whole)
