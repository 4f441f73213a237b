"""A run's parameters between two rounds, on disk: what a run that was cut off goes on from.

One file a round, replaced as a whole: `shared/NAME` of the bundle's shared parameters, `state/NAME` of what the
strategy carries from round to round (moments of a server optimiser, control variates). No single report is in it.
"""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator.errors import CheckpointDamaged

F32 = NDArray[np.float32]
State = dict[str, NDArray[np.floating[Any]]]
"""A strategy's own memory: name → float array, of float16, float32 or float64."""
SHARED, STATE = "shared/", "state/"


class Checkpoint(Struct, frozen=True, kw_only=True):
    """Where a run stands after a round; round 0 is the parent bundle's own parameters."""

    shared: dict[str, F32]
    """Name → the bundle's shared parameter, in the order of its spec."""
    state: State = {}


def save(path: Path, checkpoint: Checkpoint) -> str:
    """Write the file so that it is there whole, also after a power cut, or not at all; returns its sha256, hex.

    Raises:
        TypeError: a state that is not of floats.
    """
    for name, value in checkpoint.state.items():
        if not np.issubdtype(value.dtype, np.floating):
            raise TypeError(f"the strategy's `{name}` is {value.dtype}; state is float")
    buffer = io.BytesIO()
    parts = {SHARED + name: value for name, value in checkpoint.shared.items()}
    parts |= {STATE + name: value for name, value in checkpoint.state.items()}
    np.savez(buffer, **parts)  # type: ignore[arg-type]
    raw = buffer.getvalue()
    write_durably(path, raw)
    return hashlib.sha256(raw).hexdigest()


def load(path: Path, sha256: str) -> Checkpoint:
    """Read the file.

    Args:
        sha256: as `save` returned it.
    Raises:
        CheckpointDamaged: it is gone, or is not what was written.
    """
    hint = "give the run up (edge-coordinator rounds abandon RUN --reason …), and train again"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointDamaged(f"{path}: {error.strerror}", hint=hint) from None
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise CheckpointDamaged(f"{path} is not the file that was written", hint=hint)
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as held:
            parts = {name: held[name] for name in held.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise CheckpointDamaged(f"{path}: {error}", hint=hint) from None
    return Checkpoint(
        shared={n.removeprefix(SHARED): v for n, v in parts.items() if n.startswith(SHARED)},
        state={n.removeprefix(STATE): v for n, v in parts.items() if n.startswith(STATE)},
    )


def write_durably(path: Path, raw: bytes) -> None:
    """Replace a file as a whole, readable by its owner alone; on return it survives a power cut."""
    draft = path.with_name(f".{path.name}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
