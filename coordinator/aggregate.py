"""From many clipped updates to one new shared part. Federated averaging; FedProx differs only on the device.

Source: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data", alg. 1;
Li et al. 2020, "Federated Optimization in Heterogeneous Networks".
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator.errors import AggregationFailed
from models import flat, sparse
from models.errors import SpecInvalid
from models.spec import Parameter

F32 = NDArray[np.float32]
I8 = NDArray[np.int8]
EXAMPLES_MAX = 2**20
"""A device that claims more is not believed: the count is its weight."""


class Report(Struct, frozen=True, kw_only=True):
    """One device's usable reply."""

    delta: dict[str, I8]
    scales: dict[str, float]
    """Tensor → what one step of its int8 is worth; finite, not negative."""
    examples: int
    """Bucketed count; the weight."""
    loss_before: float
    loss_after: float
    cluster: int = 0
    """Which of the models that were sent it took, in a clustered run."""
    node: int = 0
    """Flower's id of who sent it."""
    norm: float = 0.0
    """L2 norm as it came."""
    within: bool = True
    """Whether the update was within the clipping norm, where the round asked for it."""


def checked(
    arrays: Mapping[str, NDArray[np.generic]], facts: Mapping[str, object], shared: Sequence[Parameter]
) -> Report:
    """A reply, once it has the form that it must have.

    Args:
        arrays: what the device sent: exactly one, `delta`, int8, the shared parameters end to end, or those of them
            that the fact `positions` tells (`models.sparse`).
        facts: `names`, `scales`, `examples`, `loss_before`, `loss_after`, and `within` where it was asked for.
        shared: the bundle's shared parameters, in the order of its spec.

    Raises:
        AggregationFailed: names, length, dtype or numbers are not what they must be; the reply counts as none.
    """
    hint = "update the device's agent"
    if set(arrays) != {"delta"} or facts.get("names") != [parameter.name for parameter in shared]:
        raise AggregationFailed("tensors are missing or undeclared", hint=hint)
    vector, scales, examples = arrays["delta"], facts.get("scales"), facts.get("examples")
    if vector.dtype == np.int8 and vector.ndim == 1 and "positions" in facts:
        vector = _dense(np.asarray(vector, np.int8), facts["positions"], flat.size_of(shared))
    if vector.dtype != np.int8 or vector.shape != (flat.size_of(shared),):
        raise AggregationFailed(f"the update is {vector.dtype} of shape {vector.shape}, not int8", hint=hint)
    if not isinstance(scales, list) or len(scales) != len(shared) or not all(map(_is_scale, scales)):
        raise AggregationFailed("the scales are not one number a tensor", hint=hint)
    if not isinstance(examples, int) or isinstance(examples, bool) or not 0 < examples <= EXAMPLES_MAX:
        raise AggregationFailed("the example count is no count", hint=hint)
    return Report(
        delta=flat.split(shared, np.asarray(vector, np.int8)),
        scales={parameter.name: float(scale) for parameter, scale in zip(shared, scales, strict=True)},
        examples=examples,
        loss_before=_number(facts.get("loss_before")),
        loss_after=_number(facts.get("loss_after")),
        cluster=_small(facts.get("cluster", 0)),
        within=facts.get("within", True) is True,
    )


def _dense(values: I8, positions: object, size: int) -> I8:
    """The whole vector of a device that sent its largest numbers alone."""
    if not isinstance(positions, bytes):
        raise AggregationFailed("the positions of the update are no bytes", hint="update the device's agent")
    try:
        at = sparse.unpack(positions, len(values), size)
    except SpecInvalid as error:
        raise AggregationFailed(f"the positions of the update: {error.what}", hint=error.hint) from None
    whole = np.zeros(size, np.int8)
    whole[at] = values
    return whole


def bounded(report: Report, clip_norm: float) -> Report:
    """The report, scaled down to the norm that was asked for when it is larger.

    Devices clip by themselves; this bounds what one that does not can do. Half a rounding step a coordinate is
    within what an honest device may send, so the scaling of an honest report changes it by no more than that.

    Args:
        clip_norm: L2 norm over all tensors.
    """
    with np.errstate(over="ignore"):  # a scale may be as large as a float gets
        square = sum(float((d.astype(np.float64) ** 2).sum()) * report.scales[n] ** 2 for n, d in report.delta.items())
    norm = float(np.sqrt(square))
    report = msgspec.structs.replace(report, norm=norm)
    if norm <= clip_norm:
        return report
    shrink = clip_norm / norm
    return msgspec.structs.replace(report, scales={name: scale * shrink for name, scale in report.scales.items()})


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
        with np.errstate(over="ignore"):  # what overflows is refused below
            new[name] = np.asarray(value + step, np.float32)
        if not np.isfinite(new[name]).all():
            raise AggregationFailed(
                f"the average of `{name}` is not finite", hint="lower the learning rate or clip_norm"
            )
    return new


def moved(shared: Mapping[str, F32], update: NDArray[np.float64]) -> dict[str, F32]:
    """The shared parameters after one update of all of them, end to end in the order of `shared`.

    Raises:
        AggregationFailed: what comes out is not finite.
    """
    new: dict[str, F32] = {}
    at = 0
    for name, value in shared.items():
        with np.errstate(over="ignore"):
            step = update[at : at + value.size].reshape(value.shape)
            new[name] = np.asarray(value + step, np.float32)
        at += value.size
        if not np.isfinite(new[name]).all():
            raise AggregationFailed(f"the new `{name}` is not finite", hint="lower the learning rate or clip_norm")
    return new


def rows(shared: Mapping[str, F32], reports: Sequence[Report]) -> NDArray[np.float64]:
    """Each report's update as a row, float64 (reports, parameters), in the order of `shared`."""
    return np.stack(
        [
            np.concatenate([one.delta[name].reshape(-1).astype(np.float64) * one.scales[name] for name in shared])
            for one in reports
        ]
    )


def clipped_sum(updates: NDArray[np.float64], clip_norm: float) -> NDArray[np.float64]:
    """Σ of the rows of float64 (n, d), each scaled down to an L2 norm of `clip_norm`: one device changes it by no more.

    Each row counts once, whatever number of examples its device claims.
    """
    norms = np.sqrt(np.einsum("nd,nd->n", updates, updates))
    shrink = np.minimum(1.0, clip_norm / np.maximum(norms, 1e-300))
    return np.asarray((updates * shrink[:, None]).sum(axis=0), np.float64)


def noised(
    total: NDArray[np.float64], clip_norm: float, noise_multiplier: float, expected: float, dice: np.random.Generator
) -> NDArray[np.float64]:
    """(total + noise) / expected: what a private round releases.

    Args:
        total: float64 (d,), a sum of updates of norm `clip_norm` or less.
        noise_multiplier: standard deviation of each coordinate's Gaussian noise, in units of `clip_norm`.
        expected: reports that were to be expected, known before the round. The real number would tell something.
        dice: fresh, and seeded by nothing that anybody can know.
    Source: McMahan et al. 2018, "Learning Differentially Private Recurrent Language Models", algorithm 1.
    """
    noise = dice.normal(0.0, noise_multiplier * clip_norm, total.shape)
    return np.asarray((total + noise) / expected, np.float64)


def weighted(reports: Sequence[Report]) -> tuple[float, float]:
    """(loss before, loss after), weighted like the parameters."""
    total = sum(report.examples for report in reports) or 1
    before = sum(report.loss_before * report.examples for report in reports) / total
    return before, sum(report.loss_after * report.examples for report in reports) / total


def _is_scale(value: object) -> bool:
    return isinstance(value, float) and np.isfinite(value) and value >= 0.0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else 0.0


def _small(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**16 else 2**16
