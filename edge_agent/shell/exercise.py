"""One round's training on this device's lessons, as the plan asks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused
from edge_agent.learn.personalised import best_of, copies, correction_of
from edge_agent.learn.plan import Plan
from edge_agent.learn.trainer import Schedule, Trained, Weights, train
from edge_agent.learn.unlearning import ascend
from edge_agent.shell.lessons import Lessons

F32 = NDArray[np.float32]


def train_as_planned(
    lessons: Lessons,
    plan: Plan,
    sent: Sequence[Weights],
    seed: Sequence[int],
    dice: np.random.Generator,
    clip_norm: float,
) -> tuple[Weights, Trained]:
    """Train.

    Args:
        sent: as `read_shared` gives it.
        seed: of this device and round, for what must be drawn alike several times.
        clip_norm: as far as a last update may go.
    Returns:
        The shared parameters before, and what was trained.
    Raises:
        RoundRefused: copies for so many people would take more than the device gives them, or the examples of a last
            update are gone.
    """
    spec, items = lessons.bundle.spec, len(lessons.bundle.catalogue())
    names = {name for parts in (sent[0], *lessons.personal.values()) for name in parts}
    schedule = Schedule(
        epochs=plan.epochs,
        lr=plan.lr,
        batch=plan.batch,
        negatives=plan.negatives,
        prox_mu=plan.prox_mu,
        personal_epochs=plan.personal_epochs,
        steps=plan.steps,
        only="shared" if plan.ditto else "both",
        factors={name: plan.factor_of(name) for name in names} if plan.layers else {},
    )
    if plan.unlearn:
        return sent[0], _last_update(lessons, sent[0], schedule, clip_norm, dice)
    chosen = 0
    if plan.models > 1:
        among = sent[: plan.models]
        chosen = best_of(lessons.step, spec, among, lessons.personal, lessons.rows, items, schedule, seed)
    shared = sent[chosen]
    control = sent[-1] if plan.control else {}
    trained = train(
        lessons.step,
        spec,
        shared,
        lessons.personal,
        lessons.rows,
        items,
        schedule,
        dice,
        correction=correction_of(control, lessons.control) if plan.control else None,
    )
    trained.model, trained.control = chosen, control
    if plan.ditto:
        trained.copies, trained.personal = copies(
            lessons.step,
            spec,
            shared,
            lessons.copies,
            lessons.personal,
            lessons.rows,
            items,
            schedule,
            plan.pull,
            dice,
        )
    return shared, trained


def _last_update(
    lessons: Lessons, shared: Weights, schedule: Schedule, clip_norm: float, dice: np.random.Generator
) -> Trained:
    if not lessons.rows:
        raise RoundRefused("the examples went with the last update", hint="nothing to do; it was sent once")
    spec, items = lessons.bundle.spec, len(lessons.bundle.catalogue())
    return ascend(lessons.step, spec, shared, lessons.personal, lessons.rows, items, schedule, clip_norm, dice)
