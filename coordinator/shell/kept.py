"""A round's reports on disk, from when they are here until their result is: cut off then, it asks nobody again.

What may be kept is decided in `may_keep`; see docs/adr/0035-a-round-is-resumed-from-its-last-durable-state.md.
"""

import typing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from coordinator.shell.checkpoint import write_durably
from coordinator.shell.job import Job
from coordinator.shell.round import Gathered


def path_of(job: Job, number: int) -> Path:
    """Where a round's reports are kept."""
    return Path(job.home) / "runs" / job.key / f"reports-{number}.msgpack"


def may_keep(job: Job, found: Gathered) -> bool:
    """Whether what a round brought may lie on disk.

    Single reports, where the run allows it. A secret sum only where the very sum is what is released: without privacy,
    or with the devices' own noise in it. A sum that has yet to be noised is kept nowhere.
    """
    if not job.keep_reports:
        return False
    return found.summed is None or job.private is None or by_devices(job)


def by_devices(job: Job) -> bool:
    """Whether the devices add the noise, so that the sum itself is what is released."""
    return job.private is not None and job.private.noise_by == "devices"


def keep(job: Job, found: Gathered) -> None:
    """Write it down, where it may be."""
    if may_keep(job, found):
        write_durably(path_of(job, found.row.number), msgspec.msgpack.encode(found, enc_hook=plain))


def kept(job: Job, number: int) -> Gathered | None:
    """What was kept of a round; None: nothing, or it cannot be read."""
    try:
        return msgspec.msgpack.decode(path_of(job, number).read_bytes(), type=Gathered, dec_hook=as_array)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def forget(job: Job, number: int) -> None:
    """The reports are needed no more."""
    path_of(job, number).unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """For msgspec: an array as its dtype, shape and bytes; a number as Python's own."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), value.tobytes()]
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not kept")


def as_array(kind: Any, value: Any) -> Any:
    """The way back.

    Raises:
        ValueError, TypeError: it was not written by `plain`.
    """
    if typing.get_origin(kind) is not np.ndarray:
        raise NotImplementedError(kind)
    dtype, shape, raw = value
    return np.frombuffer(raw, dtype=np.dtype(dtype)).reshape(shape)
