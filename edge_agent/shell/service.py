"""The agent as a systemd service: its units, its user, its folders."""

import re
import socket
from pathlib import Path

import msgspec

from firmware_configs import service
from firmware_configs.profile import Device
from firmware_configs.service import FOLDER, UNITS, File, Plan, install

__all__ = [
    "FOLDER",
    "NAME",
    "OTLP_NAME",
    "RENEW_NAME",
    "RENEW_TIMER",
    "USER",
    "WEB_NAME",
    "install",
    "own_command",
    "plan",
    "uninstall",
    "unit",
    "units",
]
NAME = "edgeward-agent.service"
WEB_NAME = "edgeward-web.service"
OTLP_NAME = "edgeward-otlp.service"
RENEW_NAME, RENEW_TIMER = "edgeward-renew.service", "edgeward-renew.timer"
STATE = Path("/var/lib/edgeward")
USER = "edgeward"
CHILDREN_MIB = 384
"""Memory for the short-lived children (updater, probe, learner) beside the agent's own."""
WATCHDOG_S = 30
WEB_MIB = 192
"""Memory for the device's page, with its eraser while no agent runs."""
OTLP_MIB = 128
"""Memory for the process that sends metrics and traces to a collector."""

_UNIT = """\
# Written by `edge-agent install-service`; local changes belong in `systemctl edit {name}`.
[Unit]
Description=edgeward agent: decides where the events are
Wants=network-online.target
After=network-online.target time-sync.target mosquitto.service

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} run --settings {settings}
WatchdogSec={watchdog}
Restart=on-failure
RestartSec=2
# Exit code 2: settings or profile cannot be used. Starting again would not help; `edge-agent doctor` says what to mend.
RestartPreventExitStatus=2
TimeoutStartSec=60
# The agent itself ends within 2 s.
TimeoutStopSec=10
{account}ConfigurationDirectory=edgeward
ConfigurationDirectoryMode=0750
# What the profile allows the agent ({memory} MiB), and its children while they live.
MemoryMax={memory_max}M
TasksMax=128
LimitNOFILE=4096
{walls}"""
_WEB_UNIT = """\
# Written by `edge-agent install-service --web`; local changes belong in `systemctl edit {name}`.
[Unit]
Description=edgeward page: what this device knows about its people, shown to them
Wants=network-online.target
After=network-online.target edgeward-agent.service

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} web --settings {settings}
Restart=on-failure
RestartSec=2
# Exit code 2: settings cannot be used, or the extra `web` is not installed.
RestartPreventExitStatus=2
TimeoutStopSec=10
{account}ConfigurationDirectory=edgeward
ConfigurationDirectoryMode=0750
MemoryMax={memory_max}M
LimitCORE=0
TasksMax=128
LimitNOFILE=1024
{walls}"""
_OTLP_UNIT = """\
# Written by `edge-agent install-service --otlp`; local changes belong in `systemctl edit {name}`.
# Another collector, and options such as --only or --ca: EDGEWARD_OTLP_URL and EDGEWARD_OTLP_OPTIONS in {variables}.
[Unit]
Description=edgeward: the agent's metrics and traces to a collector, over OTLP/HTTP
Wants=network-online.target
After=network-online.target edgeward-agent.service

[Service]
Environment=EDGEWARD_OTLP_URL=http://127.0.0.1:4318
EnvironmentFile=-{variables}
ExecStart={command} otlp ${{EDGEWARD_OTLP_URL}} --state-dir {state} $EDGEWARD_OTLP_OPTIONS
Restart=on-failure
RestartSec=5
# Exit code 2: no address of a collector, one beyond this machine without leave, or the extra `telemetry` is missing.
RestartPreventExitStatus=2
# Ended by SIGINT it leaves in order.
KillSignal=SIGINT
TimeoutStopSec=20
User={user}
Group={user}
UMask=0077
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# It asks the agent at a socket there, and writes nothing.
ReadOnlyPaths={state}
MemoryMax={memory_max}M
LimitCORE=0
TasksMax=32
LimitNOFILE=256
{walls}"""
_RENEW_UNIT = """\
# Written by `edge-agent install-service`; local changes belong in `systemctl edit {name}`.
[Unit]
Description=edgeward: another certificate for the fleet's broker, when a third of this one's life is left
Wants=network-online.target
After=network-online.target
# A device that is in no fleet has none.
ConditionPathExists={state}/keys/mqtt.pem

[Service]
Type=oneshot
ExecStart={command} keys renew --settings {settings}
TimeoutStartSec=300
{account}ConfigurationDirectory=edgeward
ConfigurationDirectoryMode=0750
MemoryMax={memory_max}M
LimitCORE=0
TasksMax=32
LimitNOFILE=256
{walls}"""
_RENEW_TIMER = """\
# Written by `edge-agent install-service`; local changes belong in `systemctl edit {name}`.
[Unit]
Description=edgeward: look daily whether the certificate for the fleet's broker is to be renewed

[Timer]
OnCalendar=daily
# Not all devices of a fleet at once; and once more at the start where it was missed.
RandomizedDelaySec=6h
Persistent=yes

[Install]
WantedBy=timers.target
"""
_SETTINGS = """\
# Every option: `firmware_configs/reference/agent.toml` of the distribution, or the documentation.
device = {device}
state_dir = {state}
profile = {profile}
timezone = ""

[broker]
url = "mqtt://127.0.0.1:1883"
"""


def units(command: str, settings: Path, user: str, device: Device | None) -> dict[str, str]:
    """All units that there are, by name; the arguments are those of `unit`."""
    return {
        NAME: unit(command, settings, user, device),
        RENEW_NAME: _renew_unit(command, settings, user),
        RENEW_TIMER: _RENEW_TIMER.format(name=RENEW_TIMER),
        WEB_NAME: _web_unit(command, settings, user),
        OTLP_NAME: _otlp_unit(command, user),
    }


def unit(command: str, settings: Path, user: str, device: Device | None) -> str:
    """The text of the agent's own unit.

    Args:
        command: how the agent is started, absolute.
        device: of the profile; None: not known yet, so the profile's default holds.
    """
    memory = device.memory_mib_max if device is not None else 128
    return _UNIT.format(
        name=NAME,
        command=command,
        settings=settings,
        watchdog=WATCHDOG_S,
        memory=memory,
        memory_max=memory + CHILDREN_MIB,
        account=service.account(user, STATE.name),
        walls=service.walls(command),
    )


def _web_unit(command: str, settings: Path, user: str) -> str:
    """The text of the unit that serves the device's page."""
    return _WEB_UNIT.format(
        name=WEB_NAME,
        command=command,
        settings=settings,
        memory_max=WEB_MIB,
        account=service.account(user, STATE.name),
        walls=service.walls(command),
    )


def _otlp_unit(command: str, user: str) -> str:
    """The text of the unit that sends metrics and traces to a collector."""
    return _OTLP_UNIT.format(
        name=OTLP_NAME,
        command=command,
        variables=FOLDER / "otlp.env",
        state=STATE,
        user=user,
        memory_max=OTLP_MIB,
        walls=service.walls(command),
    )


def _renew_unit(command: str, settings: Path, user: str) -> str:
    """The text of the unit that renews the certificates of a device in a fleet; its timer starts it."""
    return _RENEW_UNIT.format(
        name=RENEW_NAME,
        command=command,
        settings=settings,
        state=STATE,
        account=service.account(user, STATE.name),
        memory_max=OTLP_MIB,
        walls=service.walls(command).partition("\n[Install]")[0],
    )


def own_command() -> str:
    """How this very installation is started."""
    return service.own_command("edge-agent", "edge_agent.cli")


def plan(
    user: str,
    profile: Path | None,
    device: Device | None,
    command: str,
    *,
    start: bool,
    web: bool = False,
    otlp: bool = False,
) -> Plan:
    """What `install-service` does.

    Args:
        user: the system user that the agent runs as; made when it is not there.
        profile: copied to /etc/edgeward/profile.toml, unless there is one.
        start: enable and start the service.
        web: also the unit that serves the device's page.
        otlp: also the unit that sends metrics and traces to a collector.
    """
    service.checked_user(user)
    settings = FOLDER / "agent.toml"
    unwanted = {WEB_NAME: not web, OTLP_NAME: not otlp}
    wanted = {
        name: text for name, text in units(command, settings, user, device).items() if not unwanted.get(name, False)
    }
    files = [File(path=UNITS / name, content=text, mode=0o644, replace=True) for name, text in wanted.items()]
    started = [name for name in wanted if name != RENEW_NAME]  # its timer starts that one
    text = _SETTINGS.format(
        device=_quoted(_device_id(socket.gethostname())), state=_quoted(STATE), profile=_quoted(FOLDER / "profile.toml")
    )
    files.append(File(path=settings, content=text, mode=0o640, replace=False))
    notes = [f"settings: {settings} (kept if it was there)"]
    if profile is not None:
        content = profile.read_text(encoding="utf-8")
        files.append(File(path=FOLDER / "profile.toml", content=content, mode=0o640, replace=False))
    else:
        notes.append(f"put the device's profile at {FOLDER / 'profile.toml'}, or run this again with --profile FILE")
    commands = [
        ("useradd", *service.NO_LOGIN, "--home-dir", str(STATE), user),
        ("install", "-d", "-m", "0750", "-o", "root", "-g", user, str(FOLDER)),
        ("chgrp", user, str(settings)),
        *((("chgrp", user, str(FOLDER / "profile.toml")),) if profile is not None else ()),
        ("systemctl", "daemon-reload"),
    ]
    if start:
        commands.append(("systemctl", "enable", "--now", *started))
    else:
        notes.append(f"then: edge-agent doctor --settings {settings} && systemctl enable --now {' '.join(started)}")
    return Plan(files=tuple(files), commands=tuple(commands), notes=tuple(notes))


def _quoted(value: object) -> str:
    """A TOML basic string; JSON's is one."""
    return msgspec.json.encode(str(value)).decode()


def _device_id(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", host).strip("-._")[:63] or "device-1"


def uninstall(prefix: Path | None, *, purge: bool) -> list[str]:
    """Stop the agent and what is beside it and take the units away; settings and state stay unless `purge`.

    Raises:
        ServiceRefused: not root, or no systemd here.
    """
    names = (OTLP_NAME, WEB_NAME, RENEW_TIMER, RENEW_NAME, NAME)
    return service.uninstall(names, (FOLDER, STATE), prefix, purge=purge)
