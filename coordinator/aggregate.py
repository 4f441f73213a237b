"""From many clipped updates to one new shared part. Federated averaging; FedProx differs only on the device.

Source: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data", alg. 1;
Li et al. 2020, "Federated Optimization in Heterogeneous Networks".
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator.errors import AggregationFailed

F32 = NDArray[np.float32]
I8 = NDArray[np.int8]


class Report(Struct, frozen=True, kw_only=True):
    """One device's usable reply."""

    delta: dict[str, I8]
    scales: dict[str, float]
    """Tensor → what one step of its int8 is worth; finite, not negative."""
    examples: int
    """Bucketed count; the weight."""
    loss_before: float
    loss_after: float


def checked(
    arrays: Mapping[str, NDArray[np.generic]], facts: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]
) -> Report:
    """A reply, once it has the form that it must have.

    Args:
        arrays: what the device sent, by name.
        facts: `names`, `scales`, `examples`, `loss_before`, `loss_after`.
        shapes: the bundle's shared parameters.

    Raises:
        AggregationFailed: names, shapes, dtypes or numbers are not what they must be; the reply counts as none.
    """
    names, scales = facts.get("names"), facts.get("scales")
    if set(arrays) != set(shapes) or not isinstance(names, list) or not isinstance(scales, list):
        raise AggregationFailed("tensors are missing or undeclared", hint="update the device's agent")
    by_name = dict(zip(names, scales, strict=False))
    for name, shape in shapes.items():
        scale = by_name.get(name)
        if arrays[name].dtype != np.int8 or arrays[name].shape != shape:
            raise AggregationFailed(f"`{name}` is not int8 of shape {shape}", hint="update the device's agent")
        if not isinstance(scale, float) or not np.isfinite(scale) or scale < 0.0:
            raise AggregationFailed(f"the scale of `{name}` is no number", hint="update the device's agent")
    examples = facts.get("examples")
    if not isinstance(examples, int) or not 0 < examples < 2**40:
        raise AggregationFailed("the example count is no count", hint="update the device's agent")
    return Report(
        delta={name: np.asarray(arrays[name], np.int8) for name in shapes},
        scales={name: float(by_name[name]) for name in shapes},
        examples=examples,
        loss_before=_number(facts.get("loss_before")),
        loss_after=_number(facts.get("loss_after")),
    )


def average(shared: Mapping[str, F32], reports: Sequence[Report]) -> dict[str, F32]:
    """shared + Σ wᵢ·deltaᵢ / Σ wᵢ, with wᵢ the bucketed example counts.

    Returns:
        float32 tensors of the shared parameters' shapes.
    Raises:
        AggregationFailed: there are no reports, or the sum is not finite.
    """
    if not reports:
        raise AggregationFailed("there are no reports", hint="see the agents' logs")
    total = float(sum(report.examples for report in reports))
    new: dict[str, F32] = {}
    for name, value in shared.items():
        step = np.zeros(value.shape, np.float64)
        for report in reports:
            step += report.delta[name].astype(np.float64) * (report.scales[name] * report.examples / total)
        new[name] = np.asarray(value + step, np.float32)
        if not np.isfinite(new[name]).all():
            raise AggregationFailed(
                f"the average of `{name}` is not finite", hint="lower the learning rate or clip_norm"
            )
    return new


def weighted(reports: Sequence[Report]) -> tuple[float, float]:
    """(loss before, loss after), weighted like the parameters."""
    total = sum(report.examples for report in reports) or 1
    before = sum(report.loss_before * report.examples for report in reports) / total
    return before, sum(report.loss_after * report.examples for report in reports) / total


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else 0.0
