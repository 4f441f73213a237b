"""q-FedAvg: who has a large loss counts for more.

Source: Li et al. 2020, "Fair Resource Allocation in Federated Learning", algorithm 2. Each device counts once; its
loss is its own word, so a hostile one buys influence by claiming a large one: not for fleets that may hold such.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from coordinator.aggregate import Report, rows
from coordinator.errors import AggregationFailed

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
TINY = 1e-10


def fair_update(shared: Mapping[str, F32], reports: Sequence[Report], q: float, lr: float) -> F64:
    """The update of all parameters end to end, float64 (d,).

    Args:
        q: 0 is the plain mean; the larger, the more the devices with the largest loss decide.
        lr: of the devices; 1 / lr stands for the smoothness of their losses.
    Raises:
        AggregationFailed: a loss is negative, or every weight is zero.
    """
    losses = np.array([report.loss_before for report in reports])
    if (losses < 0.0).any():
        raise AggregationFailed("a device reports a negative loss", hint="q-FedAvg needs losses of 0 or more")
    updates = rows(shared, reports)
    smooth = 1.0 / lr
    power = (losses + TINY) ** q
    squares = np.einsum("nd,nd->n", updates, updates) * smooth**2
    weight = q * (losses + TINY) ** (q - 1.0) * squares + smooth * power
    total = float(weight.sum())
    if not np.isfinite(total) or total <= 0.0:
        raise AggregationFailed("the losses give no weights", hint="choose a smaller q")
    return np.asarray((smooth * power / total) @ updates, np.float64)
