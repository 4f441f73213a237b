"""`edge-agent web`: the device's own page for its people, served beside the agent; and the links that let them in."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.commands.options import hand_down, json_option, reason_option, settings_option, show

if TYPE_CHECKING:
    from edge_agent.settings import Settings


@click.group(invoke_without_command=True)
@settings_option
@click.pass_context
def web(ctx: click.Context, settings_path: Path) -> None:
    """Serve the device's own page until SIGTERM: what it knows about me, why I saw this, my choices, erase, export.

    A process beside the agent, with or without one running; `[web]` in the settings says where it listens. People come
    in by a link or PIN of `edge-agent web link`. Needs the extra `web`.

    \b
    Examples:
      edge-agent web --settings agent.toml
      edge-agent web link anna --settings agent.toml --pin
    """
    if hand_down(ctx):
        return
    _require("starlette", "uvicorn", "jinja2")
    from edge_agent.web.serve import serve

    settings = _settings(settings_path)
    serve(settings_path, settings, f"edge-agent web: {settings.web.address}")


@web.command()
@click.argument("subject")
@click.option("--pin", is_flag=True, help="Also a number to type on the first page.")
@click.option("--qr", is_flag=True, help="Also the link as a picture for a phone's camera.")
@reason_option
@settings_option
@json_option
def link(subject: str, pin: bool, qr: bool, reason: str, settings_path: Path, as_json: bool) -> None:
    """Make a way in for SUBJECT, as events name them: a link that is used once and ends after `web.link_s`.

    Whoever has it sees, changes and erases what this device knows about SUBJECT: give it to nobody else. It is entered
    who made it (`edge-agent access log`). Staff come in by `edge-agent access token`.
    """
    from edge_agent.shell.access import admit
    from edge_agent.shell.clock import wall_ms
    from edge_agent.web.door import Door

    if qr:
        _require("segno")
    settings = _settings(settings_path)
    state_dir, now_ms = Path(settings.state_dir), wall_ms()
    # To give somebody a way in is to give them a role: that of the person themselves.
    admit(state_dir, "roles", subject=subject, what="web link", reason=reason)
    made = Door(state_dir).invite(subject, now_ms + settings.web.link_s * 1_000, now_ms, pin=pin)
    url = f"{settings.web.address}/enter/{made.token}"
    data = {"url": url, "pin": made.pin, "subject": subject, "expires_ms": made.expires_ms}
    lines = [url, *([f"or type {made.pin} at {settings.web.address}"] if pin else [])]
    lines.append(f"used once, within {settings.web.link_s // 60} minutes; give it to nobody but {subject}")
    show(data, "\n".join(lines), as_json)
    if qr and not as_json:
        _picture(url)


def _picture(url: str) -> None:
    """Draw a QR code (ISO/IEC 18004) with characters."""
    import segno

    segno.make(url, micro=False).terminal(compact=True)


def _settings(path: Path) -> "Settings":
    from edge_agent.settings import load

    return load(path, os.environ)


def _require(*names: str) -> None:
    """The extra is there.

    Raises:
        SettingsError: it is not.
    """
    from importlib.util import find_spec

    from edge_agent.errors import SettingsError

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise SettingsError(f"{', '.join(missing)} is not installed", hint="pip install 'edgeward[web]'")
