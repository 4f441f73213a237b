"""The last update of somebody who withdraws: up their own loss, so that the shared part no longer fits their examples.

The device makes it from the examples in the moment in which these are destroyed. It is bounded as every update is: a
stated number of steps, and one L2 norm. What it does to the shared part is an estimate of what training without the
person would have given, not that; `tests.benchmarks.unlearn` measures what is left.

Source: Halimi et al. 2022, "Federated Unlearning: How to Efficiently Erase a Client in FL?" (local ascent within a
ball, here around the present model rather than the one of the others, which no coordinator of ours could send).
"""

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.learn.trainer import Rows, Schedule, Step, Trained, train
from models.spec import Spec

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Down = Callable[[dict[str, F32]], Mapping[str, F32]]
"""The shared parameters → the same after one step of training on the examples."""


def last_update(shared: Mapping[str, F32], down: Down, steps: int, clip_norm: float) -> dict[str, F64]:
    """What to add to the shared parameters.

    Each step goes as far up as training goes down from where it stands, and is brought back into the ball of radius
    `clip_norm` around where it began. It stops at the border, and where training finds nothing to do.

    Args:
        shared: where it begins, float32.
        down: one step of training; parameters that it does not name stay.
        steps: at most.
        clip_norm: L2 norm over all tensors.
    Returns:
        Float64 tensors of the parameters' shapes, of norm `clip_norm` or less, finite.
    """
    moved = {name: np.zeros(value.shape, np.float64) for name, value in shared.items()}
    for _ in range(steps):
        now = {name: np.asarray(value + moved[name], np.float32) for name, value in shared.items()}
        after = down(now)
        change = {name: np.asarray(now[name], np.float64) - after[name] for name in moved if name in after}
        if not all(np.isfinite(value).all() for value in change.values()):
            break
        for name, value in change.items():
            moved[name] = moved[name] + value
        norm = norm_of(moved)
        if norm >= clip_norm:
            return {name: value * (clip_norm / norm) for name, value in moved.items()}
    return moved


def ascend(
    step: Step,
    spec: Spec,
    shared: Mapping[str, F32],
    personal: Mapping[str, Mapping[str, F32]],
    rows: Mapping[str, Rows],
    items: int,
    schedule: Schedule,
    clip_norm: float,
    dice: np.random.Generator,
) -> Trained:
    """`last_update` with the bundle's own train step: an epoch is one of its steps.

    Personal parameters are where they begin, for the person's own are gone; they come out as they went in.

    Args:
        schedule: `epochs` steps at most.
        clip_norm: radius of the ball.
    Others, and the result: as of `trainer.train`; `loss_before` and `loss_after` are of the first and the last step.
    """
    once = msgspec.structs.replace(schedule, epochs=1, prox_mu=0.0)
    losses: list[float] = []

    def down(now: dict[str, F32]) -> Mapping[str, F32]:
        trained = train(step, spec, now, personal, rows, items, once, dice)
        losses.append(trained.loss_before)
        return trained.shared

    moved = last_update(shared, down, schedule.epochs, clip_norm)
    after = {name: np.asarray(value + moved[name], np.float32) for name, value in shared.items()}
    own = {
        subject: {name: np.array(value, np.float32) for name, value in held.items()}
        for subject, held in personal.items()
    }
    return Trained(after, own, sum(len(one.label) for one in rows.values()), losses[0], losses[-1])


def norm_of(tensors: Mapping[str, F64]) -> float:
    """L2 norm over all tensors."""
    return float(np.sqrt(sum(float((value * value).sum()) for value in tensors.values())))
