"""One coordinator a home: who holds its lock is refused another, who only leaves is waited for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.errors import AlreadyRunning
from coordinator.shell.home import alone

HOLDING = """
import fcntl, sys, time
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def _holder(home: Path, seconds: float, first: int) -> "subprocess.Popen[bytes]":
    """A process that holds the lock of a home in which `first` was the coordinator."""
    lock = home / "up.lock"
    lock.write_text(f"{first}\n")
    process = subprocess.Popen([sys.executable, "-c", HOLDING, lock, str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def _ended() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_coordinator_left_behind_is_waited_for_while_it_ends(tmp_path: Path) -> None:
    with _holder(tmp_path, 1.0, _ended()) as left, alone(tmp_path):
        assert left.wait(10) == 0  # it lets go of the lock a moment before it is gone
        assert (tmp_path / "up.lock").read_text().split() == [str(os.getpid())]


def test_a_coordinator_that_lives_is_not_waited_for(tmp_path: Path) -> None:
    with _holder(tmp_path, 60.0, os.getpid()) as other:
        with pytest.raises(AlreadyRunning, match="a coordinator runs in"), alone(tmp_path):
            pass
        other.kill()
