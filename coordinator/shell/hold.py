"""A file lock that ends with its process: who drives a run, and whether anybody does."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.errors import AlreadyRunning

POLL_S = 0.05
APP_LOCK = "app.lock"
"""Held by the server app of a run while it lives; there is one at a time."""
COMMAND_LOCK = "command.lock"
"""Held by the command that drives a run."""


@contextmanager
def hold(path: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock while the body runs.

    Args:
        wait_s: how long to wait for another holder.
    Raises:
        AlreadyRunning: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + wait_s
    try:
        while not taken(descriptor):
            if time.monotonic() >= until:
                other = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                raise AlreadyRunning(
                    f"another process ({other or 'unknown'}) holds {path}", hint="wait for it, or end it"
                )
            time.sleep(POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not taken(descriptor)
    finally:
        os.close(descriptor)


def taken(descriptor: int) -> bool:
    """Take the lock of an open file, if nobody holds it; whether we have it now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
