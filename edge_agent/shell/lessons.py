"""What this device has to learn from: its examples and personal parameters, read from the agent's database."""

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.control import personal_key
from edge_agent.errors import RoundRefused
from edge_agent.learn import examples, parameters
from edge_agent.learn.trainer import Rows, rows_of
from edge_agent.offers import NO_EXAMPLES
from edge_agent.shell import held
from edge_agent.shell.database import beside
from edge_agent.shell.held import Held
from edge_agent.shell.pipe import LearnTask
from models.bundle import Bundle, open_bundle
from models.session import TrainStep

F32 = NDArray[np.float32]


@dataclass
class Lessons:
    """One device's side of a run.

    Attributes:
        make_step: opens the training graph, which counting needs not.
        rows: subject → examples.
        personal: subject → own parameters; every subject in `rows` has an entry.
        residual: what rounding took from the last update.
        copies: subject → own copy of the shared part, of those who have one (Ditto).
        control: this device's control variate of the run (SCAFFOLD); empty at first.
        rounds: rounds taken part in.
    """

    bundle: Bundle
    make_step: Callable[[], TrainStep]
    rows: dict[str, Rows]
    personal: dict[str, dict[str, F32]]
    residual: dict[str, F32] = field(default_factory=dict)
    copies: dict[str, dict[str, F32]] = field(default_factory=dict)
    control: dict[str, F32] = field(default_factory=dict)
    rounds: int = 0
    loss_before: float = 0.0
    loss_after: float = 0.0
    held: Held | None = None
    """What a learner of this run that was cut has left."""

    @cached_property
    def step(self) -> TrainStep:
        """The training graph."""
        return self.make_step()

    @property
    def examples(self) -> int:
        """How many there are, of everyone together."""
        return sum(len(rows.label) for rows in self.rows.values())

    def hold(self, seed: bytes, note: bytes, reply: bytes = b"", *, is_last: bool = False) -> bytes:
        """All that is needed to go on from here, as the agent keeps it."""
        return held.pack(
            Held(
                seed=seed,
                note=note,
                reply=reply,
                is_last=is_last,
                rounds=self.rounds,
                personal={subject: parameters.pack(own) for subject, own in self.personal.items()},
                copies={subject: parameters.pack(own) for subject, own in self.copies.items()},
                residual=parameters.pack(self.residual),
                control=parameters.pack(self.control),
                loss_before=self.loss_before,
                loss_after=self.loss_after,
            )
        )


def load_lessons(task: LearnTask) -> Lessons:
    """Open the bundle and read the examples and personal parameters of those who agreed.

    Raises:
        RoundRefused: there is nothing to learn from, and examples are what is asked for.
        StoreUnavailable: the database cannot be read.
        ModelError: the bundle is damaged.
    """
    bundle = open_bundle(Path(task.path))
    index = {item: row for row, item in enumerate(bundle.catalogue())}
    weights = bundle.weights()
    start = {p.name: weights[p.name] for p in bundle.spec.of_share("personal")}
    rows: dict[str, Rows] = {}
    personal: dict[str, dict[str, F32]] = {}
    copies: dict[str, dict[str, F32]] = {}
    shared = {p.name: weights[p.name] for p in bundle.spec.of_share("shared")}
    with beside(Path(task.database), "the examples") as database:
        for subject in task.subjects:
            fitting = rows_of(bundle.spec, _examples(database, task, subject), index)
            if fitting is not None:
                rows[subject] = fitting
                own = _personal(database, task.bundle, subject)
                personal[subject] = {n: _fitting(own, n, value) for n, value in start.items()}
                if all(n in own and own[n].shape == value.shape for n, value in shared.items()):
                    copies[subject] = {n: own[n] for n in shared}
        kept = database.execute("SELECT value FROM state WHERE room = 'round' AND key = ?", (task.run,)).fetchone()
    found = held.unpack(kept[0]) if kept is not None else None
    # A last update that was entered goes out after a cut too, when the examples are gone.
    if not rows and task.counts not in NO_EXAMPLES and not (found is not None and found.reply):
        raise RoundRefused(f"no examples of {task.bundle} fit version {task.version}", hint="wait for more events")
    lessons = Lessons(bundle, lambda: TrainStep(bundle.read("train_step.onnx")), rows, personal, copies=copies)
    return taken_up(lessons, found)


def taken_up(lessons: Lessons, found: Held | None) -> Lessons:
    """Go on where a learner of this run was cut."""
    if found is None:
        return lessons
    lessons.held, lessons.rounds = found, found.rounds
    lessons.loss_before, lessons.loss_after = found.loss_before, found.loss_after
    lessons.residual, lessons.control = parameters.unpack(found.residual), parameters.unpack(found.control)
    own = {subject: parameters.unpack(packed) for subject, packed in found.personal.items()}
    # Who has withdrawn meanwhile is not among them any more.
    lessons.personal |= {subject: own[subject] for subject in lessons.personal if subject in own}
    lessons.copies = {s: parameters.unpack(packed) for s, packed in found.copies.items() if s in lessons.personal}
    return lessons


def _examples(database: sqlite3.Connection, task: LearnTask, subject: str) -> list[examples.Example]:
    # Rows whose time is up may wait for the next sweep; they are not learned from any more.
    found = database.execute(
        "SELECT value FROM shelf WHERE shelf = 'example' AND grp = ? AND subject = ?"
        " AND (expires_ms = 0 OR expires_ms > ?) ORDER BY number DESC LIMIT ?",
        (task.bundle, subject, int(time.time() * 1_000), task.examples_max),
    )
    own: list[examples.Example] = []
    for (value,) in found:
        with suppress(msgspec.MsgspecError):
            own.append(examples.unpack(value))
    return own


def _personal(database: sqlite3.Connection, bundle: str, subject: str) -> dict[str, F32]:
    row = database.execute(
        "SELECT value FROM state WHERE room = 'personal' AND key = ?", (personal_key(bundle, subject),)
    ).fetchone()
    held: dict[str, F32] = {}
    if row is not None:
        with suppress(ValueError):
            held = parameters.unpack(row[0])
    return held


def _fitting(held: Mapping[str, F32], name: str, start: F32) -> F32:
    return held[name] if name in held and held[name].shape == start.shape else start
