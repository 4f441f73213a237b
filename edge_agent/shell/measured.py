"""What this device tells of its metrics where its profile lets them leave in a secret sum alone.

Which rows is the profile's word. A server that asks for others, would read fewer devices than `k_min`, or lets them
have less noise than the profile wants, is refused. Observations were counted with the consent that each metric wants.
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused
from edge_agent.learn import totals
from edge_agent.shell import asked as words
from edge_agent.shell.database import beside
from firmware_configs.business import BusinessShape
from firmware_configs.measured import MetricCell
from firmware_configs.profile import Metric
from models.business import bounded, row_of

if TYPE_CHECKING:
    from edge_agent.shell.pipe import LearnTask
    from models.secure_sum.noise import Noise

F64 = NDArray[np.float64]
STATISTIC = "metrics"
"""Value of a message's `statistic`."""


def vector_of(task: "LearnTask", asked: Mapping[str, Any], noise: "Noise | None") -> F64:
    """The device's sums, float64 (shape.size,), of the norm that profile and server allow.

    A device that has measured nothing yet tells zeros, so that whether it has is not told either.

    Args:
        asked: the server's words.
        noise: on the sum, as the server states it and this device adds its share of.
    Raises:
        RoundRefused: other rows or another norm than the profile's, or less noise than it wants.
        StoreUnavailable: the database cannot be read.
    """
    measuring, shape = words.read(asked, STATISTIC, BusinessShape)
    if measuring.bundle != task.bundle or not shape.size or shape not in task.business:
        raise RoundRefused(
            "these metrics are not the ones that the profile here lets be added up",
            hint="edge-coordinator business release with the profile that this device runs",
        )
    if measuring.clip_norm != task.clip_norm:
        # Products are told over the norm: sums of devices with norms of their own would be of no meaning.
        raise RoundRefused(
            f"a norm of {measuring.clip_norm:g} is asked for, the profile says {task.clip_norm:g}",
            hint="edge-coordinator business release with the profile that this device runs",
        )
    words.check_noise(task, noise)
    with beside(Path(task.database), "the metrics") as database:
        cells = {metric.name: _cells(database, metric) for metric in shape.metrics}
    return bounded(row_of(shape, cells), task.clip_norm).ravel()


def _cells(database: sqlite3.Connection, metric: Metric) -> list[MetricCell]:
    """What was added up of a metric; nothing where that was under another wording."""
    found = database.execute("SELECT value FROM state WHERE room = 'metric' AND key = ?", (metric.name,)).fetchone()
    if found is None:
        return []
    try:
        sums = totals.unpack(found[0])
    except msgspec.MsgspecError:
        return []  # as the agent does: it begins anew
    return sums.told() if sums.definition == totals.definition_of(metric) else []
