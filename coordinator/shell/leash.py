"""`python -m coordinator.shell.leash PARENT COMMAND…`: become a command that ends when its parent does.

A coordinator that is killed takes its children with it: an orphaned SuperLink would go on serving rounds that nobody
accounts for, and hold its port. Linux's PR_SET_PDEATHSIG survives the change into the command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Ask for the signal, and become the command; where there is no such call, only the latter."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the signal was asked for
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - there is nothing for a shell to do


def leashed(command: list[str]) -> list[str]:
    """The command that runs `command` and ends with this process."""
    return [sys.executable, "-m", "coordinator.shell.leash", str(os.getpid()), *command]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
