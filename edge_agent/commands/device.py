"""What is done on a device itself: its keys, and looking it over."""

from pathlib import Path

import click

from edge_agent.commands.options import json_option, profile_option, settings_option, show, state_option


@click.group()
def keys() -> None:
    """This device's keys."""


@keys.command("new")
@state_option
@click.option("--force", is_flag=True, help="Replace a key that is there; the device must be enrolled again.")
@json_option
def new_key(state_dir: Path, force: bool, as_json: bool) -> None:
    """Make this device's node key: node.key stays here, node.pub goes to `edge-coordinator nodes enrol`."""
    from edge_agent.shell.access import check
    from edge_agent.shell.keys import make

    check(state_dir, "operate")
    private, public = make(state_dir, force=force)
    show({"private": str(private), "public": str(public)}, f"{private} (keep it here)\n{public} (enrol this)", as_json)


@keys.command("rotate")
@state_option
@json_option
def rotate_key(state_dir: Path, as_json: bool) -> None:
    """Make the key that is to follow this device's node key; it is used once the coordinator has accepted it.

    Then: edge-coordinator nodes rotate DEVICE --public-key node.pub.next
    """
    from edge_agent.shell.access import check
    from edge_agent.shell.keys import prepare_next

    check(state_dir, "operate")
    private, public = prepare_next(state_dir)
    words = f"{private} (keep it here)\n{public} (for edge-coordinator nodes rotate)"
    show({"private": str(private), "public": str(public)}, words, as_json)


@click.command()
@settings_option
@profile_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, settings_path: Path, profile: Path | None, as_json: bool) -> None:
    """Look at everything that the agent needs, and say what to mend. Exit code 0 all well, 1 warnings, 2 failures.

    It changes and publishes nothing, and works beside a running agent. Run it as the agent's user.
    """
    import msgspec

    from edge_agent.shell.doctor.check import exit_code, in_words
    from edge_agent.shell.doctor.examination import examine

    checks = []
    for check in examine(settings_path, profile):
        checks.append(check)
        if not as_json:
            click.echo("\n".join(in_words([check])))
    if as_json:
        show({"exit_code": exit_code(checks), "checks": msgspec.to_builtins(checks)}, "", as_json)
    ctx.exit(exit_code(checks))
