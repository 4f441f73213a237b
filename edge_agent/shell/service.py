"""The agent as a systemd service: the unit, the user, the folders. Everything is planned first, then done or undone."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.errors import SettingsError
from firmware_configs.profile import Device

NAME = "edgeward-agent.service"
UNIT = Path("/etc/systemd/system") / NAME
FOLDER = Path("/etc/edgeward")
STATE = Path("/var/lib/edgeward")
USER = "edgeward"
CHILDREN_MIB = 384
"""Memory for the short-lived children (updater, probe, learner) beside the agent's own."""
WATCHDOG_S = 30

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

User={user}
Group={user}
UMask=0077
StateDirectory=edgeward
StateDirectoryMode=0700
ConfigurationDirectory=edgeward
ConfigurationDirectoryMode=0750
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

# What the profile allows the agent ({memory} MiB), and its children while they live.
MemoryMax={memory_max}M
TasksMax=128
LimitNOFILE=4096

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
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


class File(Struct, frozen=True, kw_only=True):
    """A file to write."""

    path: Path
    content: str
    mode: int
    replace: bool
    """Whether one that is there is replaced; else it stays as it is."""


class Plan(Struct, frozen=True, kw_only=True):
    """What an installation does, in this order."""

    files: tuple[File, ...]
    commands: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def unit(command: str, settings: Path, user: str, device: Device | None) -> str:
    """The unit's text.

    Args:
        command: how the agent is started, absolute.
        device: of the profile; None: not known yet, so the profile's default holds.
    """
    memory = device.memory_mib_max if device is not None else 128
    # A virtual environment in somebody's home must at least be readable.
    home = "read-only" if command.startswith(("/home/", "/root/")) else "yes"
    return _UNIT.format(
        name=NAME,
        command=command,
        settings=settings,
        watchdog=WATCHDOG_S,
        user=user,
        memory=memory,
        memory_max=memory + CHILDREN_MIB,
        home=home,
    )


def own_command() -> str:
    """How this very installation is started."""
    script = Path(sys.executable).with_name("edge-agent")
    return str(script) if script.exists() else f"{sys.executable} -m edge_agent.cli"


def plan(user: str, profile: Path | None, device: Device | None, command: str, *, start: bool) -> Plan:
    """What `install-service` does.

    Args:
        user: the system user that the agent runs as; made when it is not there.
        profile: copied to /etc/edgeward/profile.toml, unless there is one.
        start: enable and start the service.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", user) or user == "root":
        raise SettingsError(f"`{user}` is no user for a service", hint="lower-case letters and digits; not root")
    settings = FOLDER / "agent.toml"
    files = [File(path=UNIT, content=unit(command, settings, user, device), mode=0o644, replace=True)]
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
        ("useradd", *_NO_LOGIN, "--home-dir", str(STATE), user),
        ("install", "-d", "-m", "0750", "-o", "root", "-g", user, str(FOLDER)),
        ("chgrp", user, str(settings)),
        *((("chgrp", user, str(FOLDER / "profile.toml")),) if profile is not None else ()),
        ("systemctl", "daemon-reload"),
    ]
    if start:
        commands.append(("systemctl", "enable", "--now", NAME))
    else:
        notes.append(f"then: edge-agent doctor --settings {settings} && systemctl enable --now {NAME}")
    return Plan(files=tuple(files), commands=tuple(commands), notes=tuple(notes))


_NO_LOGIN = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")


def _quoted(value: object) -> str:
    """A TOML basic string; JSON's is one."""
    return msgspec.json.encode(str(value)).decode()


def _device_id(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", host).strip("-._")[:63] or "device-1"


def install(what: Plan, prefix: Path | None) -> list[str]:
    """Carry the plan out; when a step fails, what was new is taken away again.

    Args:
        prefix: write below this folder and run no command, for images and tests; None: this machine.
    Returns:
        What was done, a line each.
    Raises:
        SettingsError: not root, no systemd here, or a step failed.
    """
    if prefix is None:
        _require_root_and_systemd()
    done: list[str] = []
    new: list[Path] = []
    before: dict[Path, bytes] = {}
    try:
        for file in what.files:
            path = _below(prefix, file.path)
            if path.exists() and not file.replace:
                done.append(f"kept {path}")
                continue
            if path.exists():
                before[path] = path.read_bytes()
            else:
                new.append(path)
            _write(path, file)
            done.append(f"wrote {path}")
        for command in what.commands if prefix is None else ():
            done += _run(command)
    except (OSError, subprocess.CalledProcessError) as error:
        for path in new:
            with contextlib.suppress(OSError):
                path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
        said = (getattr(error, "stderr", "") or str(error)).strip()
        raise SettingsError(
            f"the service was not installed: {said}", hint="nothing was left behind; mend that, then run it again"
        ) from error
    return done + list(what.notes)


def uninstall(prefix: Path | None, *, purge: bool) -> list[str]:
    """Stop the service and take the unit away; settings and state stay unless `purge`.

    Raises:
        SettingsError: not root, or no systemd here.
    """
    done: list[str] = []
    path = _below(prefix, UNIT)
    if prefix is None:
        _require_root_and_systemd()
        if path.exists():
            with contextlib.suppress(subprocess.CalledProcessError):
                done += _run(("systemctl", "disable", "--now", NAME))
    if path.exists():
        path.unlink()
        done.append(f"removed {path}")
    else:
        done.append(f"there was no {path}")
    if prefix is None:
        done += _run(("systemctl", "daemon-reload"))
    for folder in (FOLDER, STATE):
        if purge and _below(prefix, folder).exists():
            shutil.rmtree(_below(prefix, folder))
            done.append(f"removed {_below(prefix, folder)}")
        elif _below(prefix, folder).exists():
            done.append(f"kept {_below(prefix, folder)} (--purge removes it)")
    return done


def _require_root_and_systemd() -> None:
    if os.geteuid() != 0:
        raise SettingsError(
            "installing a service needs root", hint="sudo edge-agent install-service; --dry-run shows what it would do"
        )
    if shutil.which("systemctl") is None:
        raise SettingsError(
            "there is no systemd here", hint="run `edge-agent run` under your own supervisor, or see packaging/"
        )


def _below(prefix: Path | None, path: Path) -> Path:
    return path if prefix is None else prefix / path.relative_to("/")


def _write(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, file.mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(file.content)
    draft.chmod(file.mode)
    draft.replace(path)


def _run(command: Sequence[str]) -> list[str]:
    if command[0] == "useradd":
        known = subprocess.run(["id", command[-1]], capture_output=True, check=False).returncode == 0
        if known:
            return [f"user {command[-1]} is there"]
    subprocess.run(command, capture_output=True, text=True, check=True)
    return [f"ran {' '.join(command)}"]


def in_words(what: Plan) -> list[str]:
    """The plan for people."""
    lines = []
    for file in what.files:
        lines.append(f"write {file.path} (mode {file.mode:04o}{'' if file.replace else ', unless it is there'})")
        lines += [f"    {line}".rstrip() for line in file.content.splitlines()]
    lines += [f"run {' '.join(command)}" for command in what.commands]
    return lines + list(what.notes)
