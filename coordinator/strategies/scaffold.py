"""SCAFFOLD: devices correct each step by how their own gradient differs from the fleet's.

Source: Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging", algorithm 1, option II.

In the paper a device sends its parameters and its new control variate, twice the bytes. Here every device makes the
same number of steps K, which the round says, and keeps its own variate by what it really sent; then its change of the
variate is -update / (K · lr) - c, a function of the update. The server computes the mean of the changes from the mean
of the updates: nothing more goes up, a secret sum or a private mean is enough, and the number of a device's examples
is not told. Down go two vectors instead of one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.strategies.optimisers import State

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def control_of(state: Mapping[str, NDArray[np.floating[Any]]], shared: Mapping[str, F32]) -> dict[str, F32]:
    """The server's control variate: float32 of the parameters' shapes; zeros at first."""
    return {
        name: np.asarray(state[f"control/{name}"], np.float32) if f"control/{name}" in state else np.zeros_like(value)
        for name, value in shared.items()
    }


def controlled(
    shared: Mapping[str, F32],
    update: Mapping[str, F64],
    state: Mapping[str, NDArray[np.floating[Any]]],
    share: float,
    steps: int,
    lr: float,
) -> State:
    """What to remember after a round: the variate moved by the mean of the devices' changes.

    Args:
        update: mean of the devices' updates, each counted once.
        share: of the fleet's devices that are in the mean, in (0, 1].
        steps: that each device made.
        lr: of each step.
    """
    before = control_of(state, shared)
    after: State = dict(state)
    for name, old in before.items():
        change = -np.asarray(update[name], np.float64) / (steps * lr) - old
        after[f"control/{name}"] = (old + share * change).astype(np.float32)
    return after
