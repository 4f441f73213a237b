"""Options that several commands share, and how they print."""

from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from firmware_configs.cli_group import JSON_HELP

DEFAULT_STATE = "/var/lib/edgeward"


def handed_down(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """An option's value, or what the command's group was given for it where the command itself was given nothing.

    So `web --settings x link anna` is `web link anna --settings x`. An environment variable gives way to either.
    """
    name = param.name or ""
    if ctx.parent is not None and not _is_given(ctx, name) and _is_given(ctx.parent, name):
        return ctx.parent.params[name]
    return value


def hand_down(ctx: click.Context) -> bool:
    """Whether a group leaves the work to one of its commands, which then knows every option that the group was given.

    Raises:
        click.UsageError: it lacks one, which would be without effect.
    """
    if ctx.invoked_subcommand is None:
        return False
    wanted = cast("click.Group", ctx.command).commands[ctx.invoked_subcommand]
    known = {param.name for param in wanted.params}
    for param in ctx.command.params:
        if param.name not in known and _is_given(ctx, param.name or ""):
            whole = f"{ctx.command_path} {wanted.name}"
            raise click.UsageError(f"`{whole}` takes no {param.opts[0]}; `{whole} --help` says what it takes", ctx)
    return True


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


json_option = click.option("--json", "as_json", is_flag=True, callback=handed_down, help=JSON_HELP)
state_option = click.option(
    "--state-dir",
    default=DEFAULT_STATE,
    show_default=True,
    envvar="EDGE_AGENT_STATE_DIR",
    callback=handed_down,
    type=click.Path(path_type=Path),
    help="The agent's folder (state_dir in agent.toml).",
)
settings_option = click.option(
    "--settings",
    "settings_path",
    default="agent.toml",
    show_default=True,
    envvar="EDGE_AGENT_SETTINGS",
    callback=handed_down,
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
