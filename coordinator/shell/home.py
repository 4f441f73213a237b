"""A coordinator's home folder: who runs in it, and where its parts answer."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.errors import AlreadyRunning, NotRunning
from coordinator.shell.hold import POLL_S, taken

LEAVING_S = 15.0
"""How long the children of an `up` that was killed may take to end."""


class Endpoints(Struct, frozen=True, kw_only=True):
    """`endpoints.json`: where everything is; the other commands and the demo read it."""

    broker: str
    registry: str
    superlink: str
    """`host:port` for devices: the same port as the registry, see `coordinator.shell.door`."""
    ca: str
    root: str
    """The trusted root that devices are given."""
    control: str
    """`host:port` of the SuperLink itself, on loopback; whoever reaches it can start runs."""
    device_broker: str = ""
    """The broker as devices reach it; empty: as we do."""
    pages_broker: str = ""
    """Its WebSocket listener for pages; empty: there is none."""


def endpoints_of(home: Path) -> Endpoints:
    """Where a running coordinator's parts are.

    Raises:
        NotRunning: `up` was never run in this home.
    """
    found = last_endpoints(home)
    if found is None:
        raise NotRunning(
            f"no coordinator in {home}", hint=f"start one in another terminal: edge-coordinator up --home {home}"
        )
    return found


def last_endpoints(home: Path) -> Endpoints | None:
    """Where its parts are or were; None when it never ran."""
    try:
        return msgspec.json.decode((home / "endpoints.json").read_bytes(), type=Endpoints)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold the home while its servers run. The children inherit the lock, so what a kill left behind holds it too.

    Such children are on their way out (`coordinator.shell.leash`), and are waited for.

    Raises:
        AlreadyRunning: another `up`, or a child of one that was killed and does not end.
    """
    path = home / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + LEAVING_S
    while not taken(descriptor):
        held = path.read_text().split()
        alive = [pid for pid in held if Path(f"/proc/{pid}").exists()]
        if (held and held[0] in alive) or time.monotonic() >= until:
            os.close(descriptor)
            raise AlreadyRunning(
                f"a coordinator runs in {home}", hint=f"use it, or end it: kill {' '.join(alive) or '(see ps)'}"
            )
        time.sleep(POLL_S)
    os.set_inheritable(descriptor, True)
    try:
        note_pid(home, os.getpid(), fresh=True)
        yield
    finally:
        os.close(descriptor)


def note_pid(home: Path, pid: int, *, fresh: bool = False) -> None:
    """Remember a process that holds the lock, for the error that names it."""
    path = home / "up.lock"
    if fresh or path.exists():
        path.write_text(f"{'' if fresh else path.read_text()}{pid}\n")
