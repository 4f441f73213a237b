"""What this device tells of its drift detectors: tenths of its own references, for a secret sum alone.

Which detectors is the profile's word. A server that asks for others, would read fewer devices than `k_min`, or lets
them have less noise than the profile wants, is refused. A detector counts everybody here, so it is told only where
everybody whom the device knows agrees.
"""

import sqlite3
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.drift import Row
from edge_agent.errors import RoundRefused
from edge_agent.limits import DRIFT
from edge_agent.shell import asked as words
from edge_agent.shell.database import beside
from edge_agent.shift_tests import Binned
from edge_agent.tenths import tenths
from firmware_configs.fleet_drift import TENTHS, DriftShape
from firmware_configs.profile import DriftDetector

if TYPE_CHECKING:
    from edge_agent.shell.pipe import LearnTask
    from models.secure_sum.noise import Noise

F64 = NDArray[np.float64]
STATISTIC = "drift"
"""Value of a message's `statistic`."""
_SUBJECTS = """
SELECT DISTINCT subject FROM shelf WHERE shelf IN ('decision', 'example') AND subject != ''
UNION SELECT key FROM state WHERE room IN ('consent', 'profile') AND key != ''
"""


def vector_of(task: "LearnTask", asked: Mapping[str, Any], noise: "Noise | None") -> F64:
    """The device's tenths, float64 (shape.size,), of the norm that profile and server allow.

    Each detector's shares are multiplied by the norm over the root of how many detectors there are, by every device
    alike. One that has nothing to tell yet tells zeros.

    Args:
        asked: the server's words.
        noise: on the sum, as the server states it and this device adds its share of.
    Raises:
        RoundRefused: another bundle or shape, less noise than the profile wants, or somebody here has not agreed.
        StoreUnavailable: the database cannot be read.
    """
    watching, shape = words.read(asked, STATISTIC, DriftShape)
    words.check_version(task, watching)
    if task.drift is None or shape != task.drift:
        raise RoundRefused(
            "these detectors are not the ones that the profile here lets be added up",
            hint="edge-coordinator drift with the profile that this device runs",
        )
    words.check_noise(task, noise)
    with beside(Path(task.database), "the detectors") as database:
        _refuse_without_everybody(database, task)
        parts = [_tenths(database, task, one) for one in shape.detectors]
    norm = min(watching.clip_norm, task.clip_norm)
    return np.concatenate(parts) * (norm / sqrt(len(parts)))


def _refuse_without_everybody(database: sqlite3.Connection, task: "LearnTask") -> None:
    known = {subject for (subject,) in database.execute(_SUBJECTS)}
    if missing := len(known - set(task.subjects)):
        raise RoundRefused(
            f"{missing} of {len(known)} people here have not agreed, and a detector counts everybody",
            hint="nothing to do; once everybody agrees, the next run counts",
        )


def _tenths(database: sqlite3.Connection, task: "LearnTask", detector: DriftDetector) -> F64:
    """What the agent has stored of a detector; zeros where that is nothing, or of another wording or version."""
    ask = "SELECT value FROM state WHERE room = 'meta' AND key = ?"
    found = database.execute(ask, (DRIFT + detector.name,)).fetchone()
    told = None
    if found is not None:
        try:
            row = msgspec.msgpack.decode(found[0], type=Row)
            counts = msgspec.msgpack.decode(row.state, type=Binned)
        except msgspec.MsgspecError:
            return np.zeros(TENTHS)  # as the agent does: it begins anew
        own = detector.watch == "input" or f"{task.bundle} {task.version}" in row.versions.split(",")
        if own and row.declared == msgspec.json.encode(detector).decode():
            told = tenths(counts)
    return np.array(told) if told is not None else np.zeros(TENTHS)
