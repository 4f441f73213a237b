"""Rounds of virtual devices: offered to the agent, trained on its examples, entered in its ledger, answered.

All that the learner checks, draws and packs is the learner's own (`edge_agent.shell.answer`); only the training itself
may be done for many devices at once (`edge_agent.learn.abreast`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.control import personal_key
from edge_agent.errors import EgressError, RoundError, RoundRefused
from edge_agent.happenings import EgressAsked, Learned, LearnerEnded
from edge_agent.learn import abreast, examples, parameters
from edge_agent.learn.abreast import Form, Pupil
from edge_agent.learn.plan import Plan
from edge_agent.learn.trainer import Rows, Schedule, Trained, rows_of
from edge_agent.settings import Settings
from edge_agent.shell.answer import answer, considered, packed, seed_of, sound
from edge_agent.shell.learn_task import learn_task
from edge_agent.shell.lessons import Lessons
from edge_agent.shell.pipe import LearnTask
from edge_agent.virtual.day import ATTACK, dice
from edge_agent.virtual.device import Device
from firmware_configs.messages import Reported
from firmware_configs.virtual import Attackers, Reply
from models.bundle import Bundle
from models.session import TrainStep

F32 = NDArray[np.float32]
ABREAST = 256
"""Devices trained side by side: more make longer arrays, and no quicker ones."""
FACTS_BYTES = 128
"""What the facts beside an update take on the wire, about."""


class School:
    """One bundle's graph, opened once for all devices of a process."""

    def __init__(self, bundle: Bundle, *, may_be_abreast: bool) -> None:
        self.bundle, self.spec = bundle, bundle.spec
        self.catalogue = bundle.catalogue()
        self.index = {item: row for row, item in enumerate(self.catalogue)}
        self.step = TrainStep(bundle.read("train_step.onnx"))
        weights = bundle.weights()
        self.start = {p.name: weights[p.name] for p in bundle.spec.of_share("personal")}
        self.form: Form | None = None
        if may_be_abreast:
            self.form = abreast.fitting(bundle.spec, self.step, len(self.catalogue))


@dataclass
class Taking:
    """One device's part in a round."""

    device: Device
    task: LearnTask
    lessons: Lessons


@dataclass
class Answered:
    """What it made."""

    taking: Taking
    plan: Plan
    delta: NDArray[np.int8]
    facts: dict[str, Any]
    trained: Trained


def offered(device: Device, desired: bytes, school: School, seed: int, at_ms: int) -> Taking | Reply:
    """Offer a round; the agent says whether it takes part."""
    train = device.offered(desired, at_ms)
    if train is None:
        return Reply(device=device.number, refused=_state(device.reported))
    task = learn_task(
        Settings(device=device.name, state_dir="virtual"),
        device.fleet.loaded.profile,
        train,
        path="",
        database=Path(),
        seed=hashlib.blake2b(f"{seed}\x00{device.number}\x00{train.run}".encode(), digest_size=32).digest(),
    )
    lessons = _lessons(device, task, school)
    if not lessons.rows:
        _end(device, task.run, RoundRefused.code, at_ms)
        return Reply(device=device.number, refused=RoundRefused.code)
    return Taking(device, task, lessons)


def trained(
    takings: Sequence[Taking], school: School, asked: Mapping[str, Any], shared: F32, at_ms: int
) -> list[Answered | Reply]:
    """Have devices train as asked: side by side where the bundle's form and the plan allow it, else one by one."""
    arrays = {"shared": shared}
    if school.form is None:
        return [_alone(one, arrays, asked, at_ms) for one in takings]
    found: list[Answered | Reply] = []
    for start in range(0, len(takings), ABREAST):
        found += _abreast(takings[start : start + ABREAST], school, school.form, arrays, asked, at_ms)
    return found


def _alone(taking: Taking, arrays: Mapping[str, F32], asked: Mapping[str, Any], at_ms: int) -> Answered | Reply:
    try:
        plan, delta, facts, made = answer(taking.task, taking.lessons, arrays, asked)
    except RoundError as error:
        return _refuse(taking, error, at_ms)
    return Answered(taking, plan, delta, facts, made)


def _abreast(
    takings: Sequence[Taking],
    school: School,
    form: Form,
    arrays: Mapping[str, F32],
    asked: Mapping[str, Any],
    at_ms: int,
) -> list[Answered | Reply]:
    """The same for many at once; what `answer` does before and after training is done for each."""
    refused: dict[int, Reply] = {}
    ready: list[tuple[Taking, Plan, dict[str, F32], Pupil]] = []
    for taking in takings:
        try:
            if ready:
                # Profile, bundle and plan are those of the first: only what is this device's own is looked at.
                _, plan, before, _ = ready[0]
                plan.check_fit(taking.task.device_class, taking.lessons.examples)
                seed = seed_of(taking.task, plan)
            else:
                plan, (before, *_), seed = considered(taking.task, taking.lessons, arrays, asked)
        except RoundError as error:
            refused[taking.device.number] = _refuse(taking, error, at_ms)
            continue
        pupil = Pupil(taking.lessons.personal, taking.lessons.rows, np.random.default_rng(seed))
        ready.append((taking, plan, before, pupil))
    made: dict[int, Answered | Reply] = {}
    if ready:
        schedule = schedule_of(ready[0][1])
        if not abreast.is_plain(schedule) or ready[0][1].models > 1 or ready[0][1].control or ready[0][1].ditto:
            return [refused.get(one.device.number) or _alone(one, arrays, asked, at_ms) for one in takings]
        items, pupils = len(school.catalogue), [pupil for *_, pupil in ready]
        every = abreast.train_all(form, ready[0][2], pupils, items, schedule)
        for (taking, plan, shared, _), one in zip(ready, every, strict=True):
            try:
                delta, facts = packed(taking.task, taking.lessons, plan, shared, sound(plan, one))
            except RoundError as error:
                made[taking.device.number] = _refuse(taking, error, at_ms)
                continue
            made[taking.device.number] = Answered(taking, plan, delta, facts, one)
    return [refused.get(one.device.number) or made[one.device.number] for one in takings]


def finished(answered: Answered, attackers: Attackers | None, seed: int, at_ms: int) -> Reply:
    """Have the agent enter what leaves, and take up what was learned; then it is an answer.

    Args:
        attackers: how this device attacks; None: it is honest.
    """
    taking, device = answered.taking, answered.taking.device
    task, delta, facts = taking.task, answered.delta, answered.facts
    if attackers is not None:
        delta, facts = attacked(delta, facts, attackers, dice(seed, device.number, ATTACK, answered.plan.round))
    size, token = delta.nbytes + FACTS_BYTES, f"{task.run}-{answered.plan.round}"
    word = EgressAsked(
        run=task.run,
        token=token,
        kind="update",
        destination="superlink",
        bytes=size,
        sha256=hashlib.sha256(delta.tobytes()).hexdigest(),
        privacy=f"clip {min(answered.plan.clip_norm, task.clip_norm):g}",
        bundle=task.bundle,
    )
    device.step([word], at_ms)
    if not device.answers.pop(token).granted:
        device.fleet.counts.add("withheld", at_ms)
        _end(device, task.run, EgressError.code, at_ms)
        return Reply(device=device.number, refused=EgressError.code)
    device.fleet.counts.add("bytes_update", at_ms, size)
    learned = Learned(
        run=task.run,
        bundle=task.bundle,
        version=task.version,
        personal={subject: parameters.pack(own) for subject, own in answered.trained.personal.items()},
        examples=taking.lessons.examples,
        loss_before=answered.trained.loss_before,
        loss_after=answered.trained.loss_after,
    )
    device.step([learned], at_ms)
    _end(device, task.run, "", at_ms)
    return Reply(
        device=device.number,
        delta=delta.tobytes(),
        facts=facts,
        steps=steps_of(taking.lessons.rows, answered.plan),
        examples=taking.lessons.examples,
    )


def attacked(
    delta: NDArray[np.int8], facts: Mapping[str, Any], attackers: Attackers, draw: np.random.Generator
) -> tuple[NDArray[np.int8], dict[str, Any]]:
    """What an attacker sends instead of its honest update, in the same form."""
    scales = [scale * attackers.factor for scale in facts["scales"]]
    match attackers.kind:
        case "sign-flip":
            delta = np.negative(delta)
        case "noise":
            delta = draw.integers(-127, 128, len(delta)).astype(np.int8)
        case "scale":
            pass
    return delta, {**facts, "scales": scales}


def schedule_of(plan: Plan) -> Schedule:
    """The plan's schedule, as `edge_agent.shell.exercise` makes it of one without layers."""
    return Schedule(
        epochs=plan.epochs,
        lr=plan.lr,
        batch=plan.batch,
        negatives=plan.negatives,
        prox_mu=plan.prox_mu,
        personal_epochs=plan.personal_epochs,
        steps=plan.steps,
        factors=dict(zip(plan.layers, plan.factors, strict=True)),
    )


def steps_of(rows: Mapping[str, Rows], plan: Plan) -> int:
    """Steps of the optimiser, about: every positive has its negatives."""
    found = 0
    for own in rows.values():
        positives = int((own.label >= 0.5).sum()) if own.item is not None else 0
        found += -(-(len(own.label) + plan.negatives * positives) // plan.batch)
    return found * plan.epochs


def _lessons(device: Device, task: LearnTask, school: School) -> Lessons:
    """What `edge_agent.shell.lessons` reads of the database, from what is held here."""
    rows: dict[str, Rows] = {}
    personal: dict[str, dict[str, F32]] = {}
    held = device.examples.get(task.bundle, {})
    for subject in task.subjects:
        newest = [packed for who, packed in reversed(held.values()) if who == subject][: task.examples_max]
        fitting = rows_of(school.spec, [examples.unpack(one) for one in newest], school.index)
        if fitting is not None:
            rows[subject] = fitting
            row = device.state.get(("personal", personal_key(task.bundle, subject)))
            own = parameters.unpack(row[0]) if row is not None else {}
            personal[subject] = {
                name: own[name] if name in own and own[name].shape == value.shape else value
                for name, value in school.start.items()
            }
    return Lessons(school.bundle, lambda: school.step, rows, personal)


def _refuse(taking: Taking, error: RoundError, at_ms: int) -> Reply:
    _end(taking.device, taking.task.run, error.code, at_ms)
    return Reply(device=taking.device.number, refused=error.code)


def _end(device: Device, run: str, code: str, at_ms: int) -> None:
    device.step([LearnerEnded(run=run, code=code)], at_ms)


def _state(reported: bytes) -> str:
    """What the agent says of a round that it does not take."""
    return msgspec.msgpack.decode(reported, type=Reported).learning.split(":")[0] if reported else "unheard"
