"""`edge-agent enrol` and `edge-agent keys renew`: coming into a fleet, and staying in it."""

from pathlib import Path

import click

from edge_agent.commands.device import keys
from edge_agent.commands.options import json_option, settings_option, show


@click.command("enrol")
@click.argument("url")
@click.argument("token", envvar="EDGE_AGENT_TOKEN")
@settings_option
@click.option("--device", default="", help="This device's name; default: the settings' own, or the host's.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="The agent's folder; default: the settings' own.")
@click.option("--profile", type=click.Path(path_type=Path), help="Device profile to write into the settings.")
@click.option("--new-keys", is_flag=True, help="Make new keys where there are some: after a revocation, or a loss.")
@json_option
def enrol(
    url: str,
    token: str,
    settings_path: Path,
    device: str,
    state_dir: Path | None,
    profile: Path | None,
    new_keys: bool,
    as_json: bool,
) -> None:
    """Come into the fleet of the coordinator at URL with a TOKEN of `edge-coordinator nodes invite`.

    Keys are made here and stay here. The settings file is written, or the coordinator's parts of it. TOKEN can be given
    in EDGE_AGENT_TOKEN, where no list of processes shows it.
    """
    import msgspec

    from edge_agent.shell.enrolment import enrol as run

    done = run(url, token, settings_path, device=device, state_dir=state_dir, profile=profile, fresh=new_keys)
    lines = [
        f"enrolled as {done.device}, node {done.node}, with coordinator {done.coordinator}",
        f"broker {done.broker}",
        f"wrote {done.settings}; start it: edge-agent run --settings {done.settings}",
    ]
    show(msgspec.to_builtins(done), "\n".join(lines), as_json)


@keys.command("renew")
@settings_option
@click.option("--force", is_flag=True, help="Also when the certificate is good for long.")
@json_option
def renew(settings_path: Path, force: bool, as_json: bool) -> None:
    """Renew this device's certificates for MQTT, when a third of their life is left. Run it daily, by a timer.

    The agent has one, its commands and page another; both are renewed at once.
    """
    import os
    from datetime import UTC, datetime

    from edge_agent.shell.enrolment import renew as run

    done = run(settings_path, os.environ, force=force)
    if done is None:
        show({"renewed": False}, "the certificate is good for long; nothing to do", as_json)
        return
    ends = datetime.fromtimestamp(done.ends_ms / 1_000, UTC).date()
    show({"renewed": True, "ends_ms": done.ends_ms}, f"renewed until {ends}", as_json)
