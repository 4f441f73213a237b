"""The coordinator as systemd services: `up`, and the dashboard beside it. The home is /var/lib/edgeward-coordinator."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from firmware_configs import service
from firmware_configs.errors import ServiceRefused
from firmware_configs.service import UNITS, File, Plan

NAME = "edgeward-coordinator.service"
DASHBOARD_NAME = "edgeward-dashboard.service"
STATE = Path("/var/lib/edgeward-coordinator")
USER = "edgeward-coordinator"
DASHBOARD_MIB = 384

_UNIT = """\
# Written by `edge-coordinator install-service`; local changes belong in `systemctl edit {name}`.
[Unit]
Description=edgeward coordinator: broker, SuperLink and signed registry
Wants=network-online.target
After=network-online.target time-sync.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} up --home {state} {arguments}
Restart=on-failure
RestartSec=5
# Exit code 2: asked for in a wrong way; starting again would not help.
RestartPreventExitStatus=2
TimeoutStartSec=120
# Its children are stopped by itself, the newest first, within 8 s.
KillMode=mixed
TimeoutStopSec=30
{account}
# Each device holds a connection to the broker, and one to the door while it learns.
LimitNOFILE=65536
TasksMax=1024
LimitCORE=0
{walls}"""
_DASHBOARD = """\
# Written by `edge-coordinator install-service --dashboard`; local changes belong in `systemctl edit {name}`.
[Unit]
Description=edgeward dashboard: pages over what the coordinator knows
Wants=network-online.target
After=network-online.target edgeward-coordinator.service

[Service]
Type=exec
ExecStart={command} dashboard --home {state} {arguments}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
TimeoutStopSec=15
{account}
MemoryMax={memory}M
LimitNOFILE=4096
TasksMax=128
LimitCORE=0
{walls}"""


def unit(command: str, user: str, arguments: Sequence[str]) -> str:
    """The text of the unit that runs `up`.

    Args:
        command: how `edge-coordinator` is started, absolute.
        arguments: of `up`, besides the home.
    """
    return _UNIT.format(
        name=NAME,
        command=command,
        state=STATE,
        arguments=_escaped(arguments),
        account=service.account(user, STATE.name),
        walls=service.walls(command),
    )


def dashboard_unit(command: str, user: str, arguments: Sequence[str]) -> str:
    """The text of the unit that serves the dashboard."""
    return _DASHBOARD.format(
        name=DASHBOARD_NAME,
        command=command,
        state=STATE,
        arguments=_escaped(arguments),
        memory=DASHBOARD_MIB,
        account=service.account(user, STATE.name),
        walls=service.walls(command),
    )


def _escaped(arguments: Sequence[str]) -> str:
    """A command line as systemd reads it: `%` and `$` are its own (systemd.service(5), "Command lines")."""
    return " ".join(shlex.quote(word).replace("%", "%%").replace("$", "$$") for word in arguments)


def replies_folder(given: Path) -> Path:
    """Where the service keeps its record of what learners say; what is relative lies below the home.

    Raises:
        ServiceRefused: it lies elsewhere, where the unit's walls let nothing be written.
    """
    folder = Path(os.path.normpath(STATE / given))
    if STATE not in folder.parents:
        raise ServiceRefused(
            f"the service cannot write to {folder}", hint=f"name a folder below its home {STATE}: --replies replies"
        )
    return folder


def own_command() -> str:
    """How this very installation is started."""
    return service.own_command("edge-coordinator", "coordinator.cli")


def plan(user: str, command: str, arguments: Sequence[str], dashboard: Sequence[str] | None, *, start: bool) -> Plan:
    """What `install-service` does.

    Args:
        user: the system user that both run as; made when it is not there.
        arguments: of `up`.
        dashboard: arguments of `dashboard`; None: without it.
        start: enable and start what is installed.
    Raises:
        ServiceRefused: no such user may be.
    """
    service.checked_user(user)
    files = [File(path=UNITS / NAME, content=unit(command, user, arguments), mode=0o644, replace=True)]
    names = [NAME]
    if dashboard is not None:
        content = dashboard_unit(command, user, dashboard)
        files.append(File(path=UNITS / DASHBOARD_NAME, content=content, mode=0o644, replace=True))
        names.append(DASHBOARD_NAME)
    commands = [("useradd", *service.NO_LOGIN, "--home-dir", str(STATE), user), ("systemctl", "daemon-reload")]
    notes = [f"commands beside it: sudo -u {user} env EDGE_COORDINATOR_HOME={STATE} edge-coordinator status"]
    if start:
        commands.append(("systemctl", "enable", "--now", *names))
    else:
        notes.append(f"then: systemctl enable --now {' '.join(names)}")
    return Plan(files=tuple(files), commands=tuple(commands), notes=tuple(notes))


def uninstall(prefix: Path | None, *, purge: bool) -> list[str]:
    """Stop both and take their units away; the home stays unless `purge`.

    Raises:
        ServiceRefused: not root, or no systemd here.
    """
    return service.uninstall((DASHBOARD_NAME, NAME), (STATE,), prefix, purge=purge)
