"""Several models at once: each device takes the one with the smallest loss on its own examples, and trains that.

Source: Ghosh et al. 2020, "An Efficient Framework for Clustered Federated Learning" (IFCA), algorithm 1, model
averaging. k vectors go down instead of one; up go one update and the number of the model.

That number says which group a device is most like. It is in no account of privacy, and a sum would hide it: neither
private rounds nor secret sums go with this.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.aggregate import Report, average
from coordinator.errors import AggregationFailed
from coordinator.strategies.optimisers import State

F32 = NDArray[np.float32]


def models_of(
    state: Mapping[str, NDArray[np.floating[Any]]], shared: Mapping[str, F32], count: int, spread: float, seed: int
) -> list[dict[str, F32]]:
    """The models that a round sends.

    Args:
        count: how many.
        spread: how far apart they start, in standard deviations of each tensor; the first is the parent itself.
            Models that start alike stay alike.
        seed: of what sets them apart.
    """
    found: list[dict[str, F32]] = []
    for number in range(count):
        dice = np.random.default_rng([seed, number])
        own: dict[str, F32] = {}
        for name, value in shared.items():
            key = f"model/{number}/{name}"
            if key in state:
                own[name] = np.asarray(state[key], np.float32)
                continue
            size = spread * (float(value.std()) or 1.0) if number else 0.0
            own[name] = np.asarray(value + dice.normal(0.0, 1.0, value.shape) * size, np.float32)
        found.append(own)
    return found


def averaged(
    models: Sequence[Mapping[str, F32]], reports: Sequence[Report], state: Mapping[str, NDArray[np.floating[Any]]]
) -> tuple[dict[str, F32], State]:
    """The model that most devices took, and all models as what to remember; one that nobody took stays as it was.

    A report that names a model that was not sent counts as none.

    Raises:
        AggregationFailed: no report names one that was sent, or what comes out is not finite.
    """
    after: State = dict(state)
    sizes = [0] * len(models)
    new = [dict(one) for one in models]
    for report in reports:
        if report.cluster < len(models):
            sizes[report.cluster] += 1
    if not any(sizes):
        raise AggregationFailed("no device took a model that was sent", hint="update the devices' agents")
    for number, model in enumerate(models):
        own = [report for report in reports if report.cluster == number]
        if own:
            new[number] = average(model, own)
        for name, value in new[number].items():
            after[f"model/{number}/{name}"] = value
    after["sizes"] = np.array(sizes, np.float64)
    return new[int(np.argmax(sizes))], after
