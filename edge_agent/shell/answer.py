"""A device's answer to a round: what is asked, once it is acceptable; the training; and the update, packed."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused, TrainingFailed
from edge_agent.learn import budget
from edge_agent.learn.personalised import next_control
from edge_agent.learn.plan import Plan, read_plan, read_shared
from edge_agent.learn.trainer import Trained
from edge_agent.learn.update import bucketed, dequantise, make_update
from edge_agent.shell.exercise import train_as_planned
from edge_agent.shell.lessons import Lessons
from edge_agent.shell.pipe import LearnTask
from models import flat, sparse

F32 = NDArray[np.float32]


def trained_as_asked(
    task: LearnTask,
    lessons: Lessons,
    arrays: Mapping[str, NDArray[np.generic]],
    asked: Mapping[str, Any],
    *,
    in_secret: bool = False,
) -> tuple[Plan, dict[str, F32], Trained]:
    """Train as asked, within what the device allows.

    Args:
        in_secret: whether the update leaves as part of a sum.

    Returns:
        The plan, the shared parameters before, and what was trained.
    Raises:
        RoundRefused: another bundle, undeclared or misshapen parameters, or a plan beyond the bounds.
        TrainingFailed: it diverged.
    """
    plan, sent, seed = considered(task, lessons, arrays, asked, in_secret=in_secret)
    dice = np.random.default_rng(seed)
    shared, trained = train_as_planned(lessons, plan, sent, seed, dice, min(plan.clip_norm, task.clip_norm))
    return plan, shared, sound(plan, trained)


def considered(
    task: LearnTask,
    lessons: Lessons,
    arrays: Mapping[str, NDArray[np.generic]],
    asked: Mapping[str, Any],
    *,
    in_secret: bool = False,
) -> tuple[Plan, list[dict[str, F32]], list[int]]:
    """What a device makes of a round before it trains.

    Returns:
        The plan, what `read_shared` gives, and the seed of everything that is drawn.
    Raises:
        RoundRefused: as `trained_as_asked`.
    """
    plan = read_plan(asked, task.bundle, task.version)
    plan.check_fit(task.device_class, lessons.examples)
    if task.noise_multiplier == 0.0:
        budget.check(plan.stated(), task.epsilon_max, task.delta, task.population)
    elif plan.count_weight:
        raise RoundRefused("with noise of its own this device tells no count beside", hint="a fixed --clip-norm")
    sent = read_shared(lessons.bundle.spec, plan, arrays)
    if plan.models > 1 and (task.noise_multiplier > 0.0 or task.secret or in_secret):
        raise RoundRefused(
            "which of several models fits here would be told without noise, and to the server alone",
            hint="use a strategy that sends one model",
        )
    if task.statistic:
        raise RoundRefused("counts were offered, and an update is asked for", hint="start a new run")
    if plan.unlearn != task.unlearn:
        raise RoundRefused(
            "the plan asks to unlearn from those who agree, or to learn from those who withdrew", hint="start a new run"
        )
    return plan, sent, seed_of(task, plan)


def seed_of(task: LearnTask, plan: Plan) -> list[int]:
    """Of everything that a device draws in a round."""
    return [*task.seed, plan.seed, plan.round]


def sound(plan: Plan, trained: Trained) -> Trained:
    """What was trained, once it is finite.

    Raises:
        TrainingFailed: it is not.
    """
    own = [*trained.personal.values(), *trained.copies.values()]
    made = (*trained.shared.values(), *(value for parts in own for value in parts.values()))
    if not all(np.isfinite(value).all() for value in made):
        raise TrainingFailed(f"training {plan.bundle} diverged", hint="lower the plan's learning rate")
    return trained


def noise_dice() -> np.random.Generator:
    """For noise: seeded by nothing that anybody can know, and never twice alike, whatever a plan repeats."""
    return np.random.default_rng(int.from_bytes(os.urandom(32)))


def answer(
    task: LearnTask, lessons: Lessons, arrays: Mapping[str, NDArray[np.generic]], asked: Mapping[str, Any]
) -> tuple[Plan, NDArray[np.int8], dict[str, Any], Trained]:
    """Train as asked, and pack the update.

    Returns:
        The plan, the packed update (int8, the shared parameters end to end, or those at the facts' `positions`), the
        facts beside it, and what was trained.
    Raises:
        RoundRefused, TrainingFailed: see `trained_as_asked`.
    """
    plan, shared, trained = trained_as_asked(task, lessons, arrays, asked)
    delta, facts = packed(task, lessons, plan, shared, trained)
    return plan, delta, facts, trained


def packed(
    task: LearnTask, lessons: Lessons, plan: Plan, shared: Mapping[str, F32], trained: Trained
) -> tuple[NDArray[np.int8], dict[str, Any]]:
    """The update of what was trained from `shared` on, and the facts beside it; see `answer`.

    Raises:
        RoundRefused: it is asked for in a form that is for secret sums.
    """
    if plan.random_k:
        raise RoundRefused("random-k is for secret sums", hint="train --top-k")
    clip = min(plan.clip_norm, task.clip_norm)
    update, lessons.residual = make_update(
        shared, trained.shared, lessons.residual, clip, task.noise_multiplier, noise_dice(), plan.top_k
    )
    # With noise of the device's own, what the noise does not cover stays here: counts and losses.
    own = task.noise_multiplier > 0.0
    facts: dict[str, Any] = {
        "names": list(plan.names),
        "scales": [update.scale[name] for name in plan.names],
        "examples": 1 if own else bucketed(trained.examples),
        "loss_before": 0.0 if own else trained.loss_before,
        "loss_after": 0.0 if own else trained.loss_after,
        "round": plan.round,
    }
    if plan.models > 1:
        facts["cluster"] = trained.model
    if plan.control:
        moved = {name: dequantise(update.delta[name], update.scale[name]) for name in plan.names}
        lessons.control = next_control(lessons.control, trained.control, moved, plan.steps, plan.lr)
    if plan.count_weight:
        facts["within"] = clip < plan.clip_norm or update.norm <= plan.clip_norm
    delta = flat.join(lessons.bundle.spec.of_share("shared"), update.delta)
    if update.positions is not None:
        facts["positions"] = sparse.pack(update.positions)
        delta = delta[update.positions]
    return delta, facts
