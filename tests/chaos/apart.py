"""A world of its own for the test: its own network, processes, mounts and clocks, gone when it ends.

Everything runs in namespaces that the test makes (network, mount, process), so nothing reaches the machine's own
network, small disks are real file systems that really fill up, and whatever happens nothing is left over.
"""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
PROGRAMS = {"unshare": "util-linux", "ip": "iproute2", "mosquitto": "mosquitto", "cc": "gcc"}
"""Program → Debian package."""
INSIDE = "EDGEWARD_CHAOS_INSIDE"


def lacking() -> list[str]:
    """What this machine lacks, each with the fix; empty: nothing."""
    found = [
        f"{program} (apt-get install {package})"
        for program, package in PROGRAMS.items()
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None
    ]
    if not Path("/dev/net/tun").exists():
        found.append("/dev/net/tun (load the kernel's module tun)")
    if os.geteuid() != 0:
        found.append("root (sudo), for namespaces, mounts and interfaces")
    return found


def go_inside(arguments: Sequence[str]) -> None:
    """Become the same command in namespaces of its own; comes back at once where we are there already."""
    if os.environ.get(INSIDE):
        return
    mine = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    command = ("unshare", *mine, sys.executable, "-m", "tests.chaos", *arguments)
    os.environ[INSIDE] = "1"
    os.execvp(command[0], command)  # noqa: S606 - it is this very program


class Clocks:
    """What the processes take for the wall clock: a file for each, which `clock.c` adds to the machine's own."""

    def __init__(self, folder: Path, devices: Sequence[str]) -> None:
        """Build the library and set every clock right.

        Raises:
            subprocess.CalledProcessError: the compiler does not like it.
        """
        folder.mkdir()
        self._folder, self._library = folder, folder / "clock.so"
        flags = ("-Wall", "-Wextra", "-O2", "-shared", "-fPIC")
        subprocess.run(["cc", *flags, "-o", str(self._library), str(SOURCE), "-ldl"], check=True)
        self._world_s = 0.0
        self._wrong: dict[str, float] = dict.fromkeys(("", *devices), 0.0)
        for device in self._wrong:
            self._set(device)

    def environment(self, device: str = "") -> dict[str, str]:
        """For a process of a device; empty: for one of the world's."""
        return {"LD_PRELOAD": str(self._library), "EDGEWARD_CLOCK": str(self._file(device))}

    def sleep(self, seconds: float) -> None:
        """Everybody's clock steps forward, as after a suspend."""
        self._world_s += seconds
        for device in self._wrong:
            self._set(device)

    def leap(self, device: str, seconds: float) -> None:
        """From now on a device's clock is wrong by so much; 0: it is right again."""
        self._wrong[device] = seconds
        self._set(device)

    def _file(self, device: str) -> Path:
        return self._folder / (device or "world")

    def _set(self, device: str) -> None:
        """In place, for the file is mapped."""
        ahead = struct.pack("q", int((self._world_s + self._wrong[device]) * 1e9))
        opened = os.open(self._file(device), os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(opened, ahead, 0)
        os.close(opened)
