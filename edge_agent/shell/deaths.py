"""Which version on trial was being called when the process ended: the next start finds a call that kills the agent.

A budget of errors can bring the old version back only while the process lives. So a call of a version on trial is told
to a file before, and again after. What the file still says at a start was never finished. The file is not synced:
it outlives the process, whatever ended it, and mostly not a power cut, which says nothing of the version.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path

import msgspec

from edge_agent.infer.model import F32, Array, LoadedModel

FILE = ".calling"
DEATHS_MAX = 2
"""Ends of the process by one version, while it loads or while it is called, before it is left alone: a plug may be
pulled just then, once."""


class Deaths:
    """The marks of one folder of bundles."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self.is_tried: Callable[[str, str], bool] = lambda _name, _version: False
        """Whether a version (name, version) is on trial now; others are called without a mark."""

    def bury(self) -> str:
        """Take down what the last process was calling when it ended; returns `NAME VERSION`, mostly empty."""
        path = self._folder / FILE
        try:
            raw = path.read_bytes()
            path.unlink()
            name, _, version = raw[1:].decode(errors="replace").partition(" ")
            if raw[:1] != b"!" or not version:
                return ""
            with self._mark(name, version).open("ab") as mark:
                mark.write(b"!")
        except (OSError, ValueError):
            return ""
        return f"{name} {version}"

    def of(self, name: str, version: str) -> int:
        """How many processes this version has ended."""
        with contextlib.suppress(OSError):
            return self._mark(name, version).stat().st_size
        return 0

    def forgive(self, name: str, version: str) -> None:
        """Count them no more."""
        with contextlib.suppress(OSError):
            self._mark(name, version).unlink(missing_ok=True)

    def close(self) -> None:
        """The process ends in order: nothing is being called."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with contextlib.suppress(OSError):
                (self._folder / FILE).unlink()

    def _mark(self, name: str, version: str) -> Path:
        return self._folder / f".{name}-{version}.died"

    def watched(self, model: LoadedModel) -> LoadedModel:
        """The same model, whose calls are told while it is on trial."""
        name, version, run = model.name, model.version, model.run
        told = b"!" + f"{name} {version}".encode()

        @wraps(run)
        def watched_run(feeds: Mapping[str, Array]) -> F32:
            if not self.is_tried(name, version):
                return run(feeds)
            self._tell(told)
            try:
                return run(feeds)
            finally:
                self._tell(b".")

        return msgspec.structs.replace(model, run=watched_run)

    def _tell(self, words: bytes) -> None:
        """A medium that takes nothing keeps nobody from deciding: then deaths are not found."""
        with contextlib.suppress(OSError):
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._descriptor = os.open(self._folder / FILE, flags, 0o600)
            os.pwrite(self._descriptor, words, 0)
