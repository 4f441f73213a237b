"""Room for the ledger when the medium has none: a file whose blocks are taken beforehand.

On a full medium the agent goes on in memory, and decisions still leave. If the process ended then, what had left would
stand in no ledger. So the rows of such messages are written here first, over blocks that the file has already, and a
message whose row finds no room waits until the database can be written again. The next start brings the rows into the
ledger; until then an auditor reads them here. A medium that copies what is overwritten (btrfs, ZFS) may refuse that,
too: then nothing leaves.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from firmware_configs.ledger_reserve import BYTES, FILE, pack, unpack


class Reserve:
    """The file, opened; where it cannot be had, nothing is ever kept."""

    def __init__(self, folder: Path) -> None:
        self._descriptor, self._end = -1, 0
        try:
            self._descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(self._descriptor).st_size < BYTES:
                os.pwrite(self._descriptor, bytes(BYTES), 0)
                os.fsync(self._descriptor)
        except OSError:
            self.close()

    def rows(self) -> dict[int, bytes]:
        """Number → row of the ledger, of what was kept and is not yet in the database."""
        if self._descriptor < 0:
            return {}
        try:
            held = os.pread(self._descriptor, BYTES, 0)
        except OSError:
            return {}
        found, self._end = unpack(held)
        return found

    def keep(self, rows: Mapping[int, bytes]) -> bool:
        """Write rows so that they outlive the process and the power; whether they are there."""
        told = pack(rows)
        if self._descriptor < 0 or self._end + len(told) > os.fstat(self._descriptor).st_size:
            return False
        try:
            written = os.pwrite(self._descriptor, told, self._end)
            os.fdatasync(self._descriptor)
        except OSError:
            return False
        if written < len(told):
            return False
        self._end += len(told)
        return True

    def clear(self) -> None:
        """The database has everything; what is still here is the same."""
        if self._end and self._descriptor >= 0:
            try:
                os.pwrite(self._descriptor, bytes(self._end), 0)
            except OSError:
                return
            self._end = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
