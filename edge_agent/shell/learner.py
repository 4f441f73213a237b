"""The learner: a process that lives only while there is something to learn.

It reads the local examples, trains with the bundle's own graph, asks its parent for a ledger entry, sends what was
entered, hands new personal parameters to the parent, and exits. Nothing that the server sends is executed.
"""

import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from edge_agent.control import personal_key
from edge_agent.errors import EgressError, RoundError, RoundRefused, TrainingFailed
from edge_agent.learn import examples, parameters
from edge_agent.learn.trainer import Rows, Schedule, Trained, rows_of, train
from edge_agent.learn.update import bucketed, make_update
from edge_agent.shell.pipe import AskEgress, EgressAnswer, Ended, LearnTask, ParentLine, TrainedReport, parent_line
from firmware_configs.errors import EdgeError
from models.bundle import Bundle, open_bundle
from models.session import TrainStep

F32 = NDArray[np.float32]
EPOCHS_MAX, BATCH_MAX, NEGATIVES_MAX = 100, 4_096, 50


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server asks for. Bounds are the device's; a plan beyond them is refused."""

    bundle: str
    version: str
    round: Annotated[int, Meta(ge=1)]
    rounds: Annotated[int, Meta(ge=1, le=10_000)]
    epochs: Annotated[int, Meta(ge=1, le=EPOCHS_MAX)]
    lr: Annotated[float, Meta(gt=0.0, le=1_000.0)]
    batch: Annotated[int, Meta(ge=1, le=BATCH_MAX)]
    negatives: Annotated[int, Meta(ge=0, le=NEGATIVES_MAX)]
    clip_norm: Annotated[float, Meta(gt=0.0)]
    prox_mu: Annotated[float, Meta(ge=0.0, le=100.0)]
    seed: int


@dataclass
class Local:
    """What this device has to learn from."""

    bundle: Bundle
    step: TrainStep
    rows: dict[str, Rows]
    personal: dict[str, dict[str, F32]]
    residual: dict[str, F32] = field(default_factory=dict)
    rounds: int = 0
    loss_before: float = 0.0
    loss_after: float = 0.0


def main() -> None:
    """Entry of the child process."""
    line = parent_line()
    task = line.receive()
    if not isinstance(task, LearnTask):
        sys.exit(2)
    code, reason = "", ""
    try:
        _learn(task, line)
    except EdgeError as error:
        code, reason = error.code, f"{error.what}; fix: {error.hint}"
    except Exception as error:  # noqa: BLE001 - the process's last line: whatever it was, the agent is told
        code, reason = TrainingFailed.code, f"{type(error).__name__}: {error}"
    line.send(Ended(code=code, reason=reason))


def _learn(task: LearnTask, line: ParentLine) -> None:
    from edge_agent.shell.fleet import connect

    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    local = load_local(task)
    closes = task.closes_ms / 1_000

    def still_open() -> bool:
        return not task.closes_ms or time.time() < closes

    with connect(task.superlink, task.ca, Path(task.node_key), task.app_hash, still_open) as fleet:
        while (ask := fleet.next()) is not None:
            started = time.monotonic()
            try:
                plan, arrays, facts, trained = answer(task, local, ask.arrays, ask.plan)
            except RoundError as error:
                fleet.send(fleet.refuse(ask, error.code, error.what), 0.0)
                raise
            reply = fleet.prepare(ask, arrays, facts)
            _ask_ledger(line, task, plan, reply.payload)
            fleet.send(reply, time.monotonic() - started)
            _keep(local, trained)
            if plan.round >= plan.rounds:
                break
    if not local.rounds:
        raise RoundRefused("the round closed before this device was asked", hint="nothing to do; the next offer counts")
    line.send(_report(task, local))


def load_local(task: LearnTask) -> Local:
    """Open the bundle and read the examples and personal parameters of those who agreed.

    Raises:
        RoundRefused: there is nothing to learn from.
    """
    bundle = open_bundle(Path(task.path))
    index = {item: row for row, item in enumerate(bundle.catalogue())}
    weights = bundle.weights()
    start = {p.name: weights[p.name] for p in bundle.spec.of_share("personal")}
    rows: dict[str, Rows] = {}
    personal: dict[str, dict[str, F32]] = {}
    with sqlite3.connect(f"file:{task.database}?mode=ro", uri=True, timeout=10) as database:
        for subject in task.subjects:
            own = _examples(database, task, subject)
            fitting = rows_of(bundle.spec, own, index)
            if fitting is not None:
                rows[subject] = fitting
                personal[subject] = _personal(database, task.bundle, subject, start)
    if not rows:
        raise RoundRefused(f"no examples of {task.bundle} fit version {task.version}", hint="wait for more events")
    return Local(bundle, TrainStep(bundle.read("train_step.onnx")), rows, personal)


def _examples(database: sqlite3.Connection, task: LearnTask, subject: str) -> list[examples.Example]:
    found = database.execute(
        "SELECT value FROM shelf WHERE shelf = 'example' AND grp = ? AND subject = ? ORDER BY number DESC LIMIT ?",
        (task.bundle, subject, task.examples_max),
    )
    return [examples.unpack(value) for (value,) in found]


def _personal(database: sqlite3.Connection, bundle: str, subject: str, start: Mapping[str, F32]) -> dict[str, F32]:
    row = database.execute(
        "SELECT value FROM state WHERE room = 'personal' AND key = ?", (personal_key(bundle, subject),)
    ).fetchone()
    held = parameters.unpack(row[0]) if row else {}
    return {n: held[n] if n in held and held[n].shape == value.shape else value for n, value in start.items()}


def answer(
    task: LearnTask, local: Local, arrays: Mapping[str, NDArray[np.generic]], asked: Mapping[str, Any]
) -> tuple[Plan, dict[str, NDArray[np.generic]], dict[str, Any], Trained]:
    """Train as asked, within what the device allows.

    Returns:
        The plan, the packed update's tensors, the facts beside it, and what was trained.
    Raises:
        RoundRefused: another bundle, undeclared or misshapen parameters, or a plan beyond the bounds.
    """
    plan = _plan(task, asked)
    shared = _shared(local.bundle, arrays)
    dice = np.random.default_rng([*task.seed, plan.round])
    schedule = Schedule(
        epochs=plan.epochs, lr=plan.lr, batch=plan.batch, negatives=plan.negatives, prox_mu=plan.prox_mu
    )
    trained = train(
        local.step,
        local.bundle.spec,
        shared,
        local.personal,
        local.rows,
        len(local.bundle.catalogue()),
        schedule,
        dice,
    )
    if not all(np.isfinite(value).all() for value in trained.shared.values()):
        raise TrainingFailed(f"training {plan.bundle} diverged", hint="lower the plan's learning rate")
    clip = min(plan.clip_norm, task.clip_norm)
    update, local.residual = make_update(shared, trained.shared, local.residual, clip, task.noise_multiplier, dice)
    names = sorted(update.delta)
    facts: dict[str, Any] = {
        "names": names,
        "scales": [update.scale[name] for name in names],
        "examples": bucketed(trained.examples),
        "loss_before": trained.loss_before,
        "loss_after": trained.loss_after,
        "round": plan.round,
    }
    return plan, dict(update.delta), facts, trained


def _plan(task: LearnTask, asked: Mapping[str, Any]) -> Plan:
    try:
        plan = msgspec.convert(dict(asked), Plan, strict=False)
    except msgspec.ValidationError as error:
        raise RoundRefused(f"the plan is not acceptable: {error}", hint="keep to the bounds of the device") from None
    if (plan.bundle, plan.version) != (task.bundle, task.version):
        raise RoundRefused(
            f"asked for {plan.bundle} {plan.version}, the offer was {task.bundle} {task.version}",
            hint="start a new run for another bundle",
        )
    return plan


def _shared(bundle: Bundle, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, F32]:
    wanted = {p.name: p.shape for p in bundle.spec.of_share("shared")}
    if set(arrays) != set(wanted):
        extra = sorted(set(arrays) - set(wanted)) or sorted(set(wanted) - set(arrays))
        raise RoundRefused(
            f"the round names {extra}; shared are {sorted(wanted)}, and nothing else ever leaves",
            hint="send exactly the bundle's shared parameters",
        )
    for name, shape in wanted.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.float32 or not np.isfinite(arrays[name]).all():
            raise RoundRefused(f"`{name}` must be finite float32 of shape {shape}", hint="send the bundle's own shapes")
    return {name: np.asarray(arrays[name], np.float32) for name in wanted}


def _ask_ledger(line: ParentLine, task: LearnTask, plan: Plan, payload: bytes) -> None:
    """Nothing is sent before the agent's ledger has entered it.

    Raises:
        EgressError: the profile does not let it out.
    """
    clip = min(plan.clip_norm, task.clip_norm)
    noise = f"noise multiplier {task.noise_multiplier:g}" if task.noise_multiplier else "no noise, no epsilon"
    token = f"{task.run}-{plan.round}"
    line.send(
        AskEgress(
            token=token,
            kind="update",
            destination="superlink",
            bytes=len(payload),
            sha256=hashlib.sha256(payload).hexdigest(),
            privacy=f"clip {clip:g}, {noise}",
        )
    )
    said = line.receive()
    if not isinstance(said, EgressAnswer) or said.token != token or not said.granted:
        reason = said.reason if isinstance(said, EgressAnswer) else "the agent is gone"
        raise EgressError(f"the ledger did not enter the update: {reason}", hint="see the profile's [[egress]]")


def _keep(local: Local, trained: Trained) -> None:
    if not local.rounds:
        local.loss_before = trained.loss_before
    local.personal = trained.personal
    local.loss_after = trained.loss_after
    local.rounds += 1


def _report(task: LearnTask, local: Local) -> TrainedReport:
    return TrainedReport(
        run=task.run,
        bundle=task.bundle,
        version=task.version,
        personal={subject: parameters.pack(own) for subject, own in local.personal.items()},
        examples=sum(len(rows.label) for rows in local.rows.values()),
        loss_before=local.loss_before,
        loss_after=local.loss_after,
    )


if __name__ == "__main__":
    main()
