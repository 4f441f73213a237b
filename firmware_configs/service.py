"""A systemd service of ours: what units have in common; an installation that is planned first, then done or undone."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from firmware_configs.errors import ServiceRefused

UNITS = Path("/etc/systemd/system")
FOLDER = Path("/etc/edgeward")
NO_LOGIN = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")

_ACCOUNT = """
User={user}
Group={user}
UMask=0077
StateDirectory={state}
StateDirectoryMode=0700
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
"""
_WALLS = """
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


def account(user: str, state: str) -> str:
    """A unit's lines about whom it runs as and where its state is, /var/lib/`state`."""
    return _ACCOUNT.format(user=user, state=state)


def walls(command: str) -> str:
    """A unit's lines about what it may not do, and its end."""
    # A virtual environment in somebody's home must at least be readable.
    return _WALLS.format(home="read-only" if command.startswith(("/home/", "/root/")) else "yes")


def own_command(script: str, module: str) -> str:
    """How a command of this very installation is started."""
    beside = Path(sys.executable).with_name(script)
    return str(beside) if beside.exists() else f"{sys.executable} -m {module}"


def checked_user(user: str) -> str:
    """The name, if a service may run as such a user.

    Raises:
        ServiceRefused: it is root, or no name.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", user) or user == "root":
        raise ServiceRefused(f"`{user}` is no user for a service", hint="lower-case letters and digits; not root")
    return user


def install(what: Plan, prefix: Path | None) -> list[str]:
    """Carry the plan out; when a step fails, what was new is taken away again.

    Args:
        prefix: write below this folder and run no command, for images and tests; None: this machine.
    Returns:
        What was done, a line each.
    Raises:
        ServiceRefused: not root, no systemd here, or a step failed.
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
        raise ServiceRefused(
            f"the service was not installed: {said}", hint="nothing was left behind; mend that, then run it again"
        ) from error
    return done + list(what.notes)


def uninstall(names: Sequence[str], folders: Sequence[Path], prefix: Path | None, *, purge: bool) -> list[str]:
    """Stop services and take their units away; settings and state stay unless `purge`.

    Args:
        names: of units; the last one is missed where it is not there.
        folders: what `purge` removes.

    Raises:
        ServiceRefused: not root, or no systemd here.
    """
    done: list[str] = []
    if prefix is None:
        _require_root_and_systemd()
    for unit_path in (UNITS / name for name in names):
        path = _below(prefix, unit_path)
        if prefix is None and path.exists():
            with contextlib.suppress(subprocess.CalledProcessError):
                done += _run(("systemctl", "disable", "--now", unit_path.name))
        if path.exists():
            path.unlink()
            done.append(f"removed {path}")
        elif unit_path.name == names[-1]:
            done.append(f"there was no {path}")
    if prefix is None:
        done += _run(("systemctl", "daemon-reload"))
    for folder in folders:
        if purge and _below(prefix, folder).exists():
            shutil.rmtree(_below(prefix, folder))
            done.append(f"removed {_below(prefix, folder)}")
        elif _below(prefix, folder).exists():
            done.append(f"kept {_below(prefix, folder)} (--purge removes it)")
    return done


def _require_root_and_systemd() -> None:
    if os.geteuid() != 0:
        raise ServiceRefused(
            "installing a service needs root", hint="run it with sudo; --dry-run shows what it would do"
        )
    if shutil.which("systemctl") is None:
        raise ServiceRefused(
            "there is no systemd here", hint="run the command under your own supervisor, or see docs/install.md"
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
