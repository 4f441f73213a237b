"""What an operator of this device asks of its agent, left in a file: `edge-agent bundles use` writes, the loop reads.

The database has one writer, the agent; so an operator asks, and the agent does it in a transaction of its own. A wish
that is left while no agent runs is taken up at the next start. It is deleted once what came of it is committed.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from edge_agent.happenings import BundleAsked, PeopleAsked

FILE = "wish.json"
BYTES_MAX = 4_096

ERASE = "erase-"
"""Begins the names of files that ask for an erasure (`shell/eraser.py`): one each, so that none replaces another."""

Asked = BundleAsked | PeopleAsked

_decoder: msgspec.json.Decoder[Asked] = msgspec.json.Decoder(Asked)


class Wishes:
    """The loop's side: a wish is read once, and deleted after the step that heard what the shell did about it."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._open: Asked | None = None
        self._steps = 0

    def take(self) -> list[Asked]:
        """The wish that waits, unless one is being granted."""
        if self._open is not None:
            return []
        self._open, self._steps = read(self._state_dir), 0
        return [self._open] if self._open is not None else []

    def stepped(self) -> None:
        """A step is committed: the first took the wish, the second its outcome."""
        if self._open is None:
            return
        self._steps += 1
        if self._steps > 1:
            granted(self._state_dir, self._open)
            self._open = None


def leave(state_dir: Path, asked: Asked) -> Path:
    """Ask; a wish that was not taken up yet is replaced.

    Raises:
        OSError: the folder is not there, or not ours to write to.
    """
    draft, path = state_dir / f".{FILE}.{os.getpid()}", state_dir / FILE
    draft.write_bytes(msgspec.json.encode(asked))
    draft.chmod(0o644)  # an operator is often root, the agent is not
    draft.replace(path)
    return path


def read(state_dir: Path) -> Asked | None:
    """The wish that waits, if there is one; a file that is none is removed."""
    path = state_dir / FILE
    try:
        with path.open("rb") as file:
            return _decoder.decode(file.read(BYTES_MAX))
    except OSError:
        return None
    except msgspec.MsgspecError:
        with contextlib.suppress(OSError):
            path.unlink()
        return None


def granted(state_dir: Path, asked: Asked) -> None:
    """The wish is done; one that came in the meantime stays."""
    if read(state_dir) == asked:
        with contextlib.suppress(OSError):
            (state_dir / FILE).unlink()


def waiting(state_dir: Path) -> list[str]:
    """The names of the erasures that are asked for."""
    try:
        return sorted(path.name for path in state_dir.glob(f"{ERASE}*"))
    except OSError:
        return []
