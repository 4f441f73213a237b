"""Facts of what is traced, told at a second socket in the agent's folder, for `edge-agent traces`.

They may be more than a socket holds, and the agent waits for nobody: it hands over a file in memory instead.
"""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec import Struct

from edge_agent.shell.vitals import ASK_S, Porthole, short
from edge_agent.timings import Fact

if TYPE_CHECKING:
    from edge_agent.shell.run import Loop

FILE = "facts.sock"


class Facts(Struct, frozen=True, kw_only=True):
    """What one visit learns."""

    device: str
    agent: str
    pid: int
    """Facts are numbered anew by each process."""
    profile: str
    facts: list[Fact]
    """The newest, oldest first."""


class FactsPorthole(Porthole):
    """Tells facts."""

    file: ClassVar[str] = FILE

    def tell(self, asking: socket.socket, loop: "Loop") -> None:
        from edge_agent import __version__

        profile = loop.loaded.profile
        told = Facts(
            device=loop.settings.device,
            agent=__version__,
            pid=os.getpid(),
            profile=f"{profile.name} {profile.version}",
            facts=loop.timings.facts(),
        )
        descriptor = os.memfd_create("facts", os.MFD_CLOEXEC)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(msgspec.msgpack.encode(told))
            socket.send_fds(asking, [b"f"], [descriptor])
        finally:
            os.close(descriptor)


def ask(state_dir: Path) -> Facts | None:
    """The facts of a folder's agent; None when none runs there, or it does not answer within a second."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line, short(state_dir, FILE) as path:
            line.settimeout(ASK_S)
            line.connect(path)
            _, descriptors, _, _ = socket.recv_fds(line, 1, 1)
        if not descriptors:
            return None
        with os.fdopen(descriptors[0], "rb") as file:
            file.seek(0)
            return msgspec.msgpack.decode(file.read(), type=Facts)
    except (OSError, msgspec.MsgspecError):
        return None
