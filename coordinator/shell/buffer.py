"""What has come in for a version that is not made yet, on disk: an asynchronous run that is cut off goes on with it.

One file a version, to which each report is appended as it comes. What is beyond a version's buffer stands in the next
version's file before the version is sealed, so that no report is lost and none counts twice, wherever a cut falls.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.aggregate import Report
from coordinator.shell.checkpoint import write_durably
from coordinator.shell.job import Job
from coordinator.shell.kept import as_array, plain

LENGTH = struct.Struct(">I")


class Came(Struct, frozen=True):
    """A report, and the version that it started from."""

    version: int
    report: Report


class Buffer:
    """The file of one version. Where the run keeps no reports, nothing is written."""

    def __init__(self, job: Job, number: int) -> None:
        self._keeps = job.keep_reports
        self._path = Path(job.home) / "runs" / job.key / f"reports-{number}.frames"

    def read(self) -> list[Came]:
        """What was written, in the order in which it came; a last report that was cut in the middle did not come."""
        found: list[Came] = []
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return found
        at = 0
        while at + LENGTH.size <= len(raw):
            end = at + LENGTH.size + LENGTH.unpack_from(raw, at)[0]
            try:
                found.append(_unpacked(raw[at + LENGTH.size : end]))
            except (msgspec.MsgspecError, ValueError):
                break
            at = end
        if at < len(raw) and self._keeps:
            self.begin(found)  # or what is appended would follow the torn end
        return found

    def begin(self, rest: Sequence[Came]) -> None:
        """Write the file anew, with what was left over from the version before."""
        if self._keeps:
            write_durably(self._path, b"".join(map(_frame, rest)))

    def append(self, came: Sequence[Came]) -> None:
        """Add reports; on return they survive a power cut."""
        if not self._keeps or not came:
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(map(_frame, came)))
            file.flush()
            os.fsync(file.fileno())

    def forget(self) -> None:
        """The version is sealed, or given up."""
        self._path.unlink(missing_ok=True)


def _frame(came: Came) -> bytes:
    packed = msgspec.msgpack.encode(came, enc_hook=plain)
    return LENGTH.pack(len(packed)) + packed


def _unpacked(packed: bytes) -> Came:
    return msgspec.msgpack.decode(packed, type=Came, dec_hook=as_array)
