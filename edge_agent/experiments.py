"""The experiments of one device: who is measured, what was measured, and the sums that leave. Imported only where a
profile has an experiment.

Everything that is changed is written in the step's own transaction, so a crash repeats a step or does not know of it.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from edge_agent.batch import Batch
from edge_agent.decide.decision import Trail
from edge_agent.decide.experiment import Assignment
from edge_agent.happenings import Allocated
from edge_agent.learn.cohort import (
    BEFORE,
    BEFORE_MAX,
    CHUNK,
    COUNTED,
    MEASURED,
    MEASURED_MAX,
    Person,
    Summary,
    read_chunk,
    read_person,
    read_summary,
)
from edge_agent.limits import DAY_MS
from edge_agent.memory.subjects import Kept
from edge_agent.wire import write_word
from firmware_configs import designs
from firmware_configs.messages import ExperimentReport, Shares, Topics
from firmware_configs.profile import Egress, Placement
from models.experiments import sums

if TYPE_CHECKING:
    from edge_agent.agent import Agent

FOLDED_MAX = 256
"""People of one experiment who are counted in one step."""
PEOPLE_HELD = 2_048
"""People of one experiment in memory; others are read from the store when they are needed."""
CHUNKS_MAX = 64
"""Stretches of the queue in memory."""


class Running:
    """One experiment."""

    def __init__(self, agent: "Agent", placement: Placement, assignment: Assignment) -> None:
        self._agent, self._placement, self.assignment = agent, placement, assignment
        self.experiment = assignment.experiment
        self.plan = designs.plan_hash(self.experiment)
        self._key = f"{self.experiment.name}\x00{self.plan}"
        self._metrics = {metric.name: n for n, metric in enumerate(self.experiment.metric)}
        self._window_ms = int(self.experiment.window_s * 1_000)
        self._kept_ms = min(agent.longest_ms, max(self._window_ms + DAY_MS, agent.retention_ms))
        recall = agent.doors.recall
        self.people: Kept[Person] = Kept(lambda key: recall("experiment", key), read_person, Person, PEOPLE_HELD)
        self._chunks: Kept[list[str]] = Kept(lambda key: recall("experiment", key), read_chunk, list, CHUNKS_MAX)
        stored = recall("experiment", f"sums\x00{self._key}")
        arms = tuple(arm.name for arm in assignment.arms)
        bounds = tuple((metric.lower, metric.upper) for metric in self.experiment.metric)
        fresh = Summary(arms=arms, metrics=tuple(self._metrics), bounds=bounds)
        self.summary = read_summary(stored) if stored else fresh
        allocated = recall("experiment", f"shares\x00{self._key}")
        if allocated:
            word = msgspec.msgpack.decode(allocated, type=Shares)
            assignment.allocate(word.number, word.shares)

    def trim(self) -> None:
        """Let go of what was not needed lately."""
        self.people.trim()
        self._chunks.trim()

    def allocate(self, word: Shares, batch: Batch) -> bool:
        """Take the coordinator's shares; False when they are older, or for another plan or other arms."""
        if word.plan != self.plan or not self.assignment.allocate(word.number, word.shares):
            return False
        batch.put(
            "experiment",
            f"shares\x00{self._key}",
            msgspec.msgpack.encode(word),
            batch.settled_ms + self._agent.longest_ms,
        )
        return True

    def decided(self, trail: Trail, batch: Batch) -> None:
        """A decision was made for a person, in an arm or before the experiment."""
        name, person = self._known(trail.subject, batch)
        if person.state == COUNTED:
            if batch.settled_ms - person.due_ms > self._kept_ms // 2:
                person.due_ms = batch.settled_ms  # whoever goes on coming is not forgotten, or would count again
                self._keep(name, person, batch)
            return
        if person.state == MEASURED:
            counts = self._counts(person, trail)
        elif trail.experiment:
            counts = self.may_be_counted(trail.subject) and self._enrol(name, person, trail, batch)
        else:
            counts = not self.assignment.begun(batch.now_ms) and self._has_room_before(person, batch)
        if counts:
            person.decisions += 1
            self._keep(name, person, batch)

    def observed(self, trail: Trail, metric: str, value: float, batch: Batch) -> None:
        """A value of a metric belongs to a decision."""
        n = self._metrics.get(metric)
        if n is None:
            return
        name, person = self._known(trail.subject, batch)
        if person.state == BEFORE:
            counts = person.decisions > 0 and not self.assignment.begun(trail.decided_ms)
        else:
            counts = batch.settled_ms < person.due_ms and self._counts(person, trail)
        if counts:
            person.take(n, value, len(self._metrics))
            self._keep(name, person, batch)

    def _known(self, subject: str, batch: Batch) -> tuple[str, Person]:
        """The record of the subject's person, and the name that it was begun under: any of the person's subjects."""
        people = self._agent.people
        person = people.person(subject, batch.now_ms)
        for name in dict.fromkeys((person, *people.subjects(person, batch.now_ms))):
            record = self.people.get(self._person_key(name))
            if record.state != BEFORE or record.decisions:
                return name, record
        return person, self.people.get(self._person_key(person))

    def _person_key(self, name: str) -> str:
        return f"person\x00{self._key}\x00{name}"

    def _counts(self, person: Person, trail: Trail) -> bool:
        """Whether what happens still belongs to the arm in which the person is measured."""
        return (
            person.state == MEASURED
            and person.allocation == self.assignment.allocation == trail.allocation
            and self.summary.arms[person.arm] == trail.arm
        )

    def _has_room_before(self, person: Person, batch: Batch) -> bool:
        """Whether something may be kept of the person from before the experiment."""
        if not person.decisions:
            if self.summary.before >= BEFORE_MAX:
                return False
            self.summary.before += 1
            self._keep_summary(batch)
        return True

    def _enrol(self, name: str, person: Person, trail: Trail, batch: Batch) -> bool:
        summary = self.summary
        if summary.measured >= MEASURED_MAX:
            summary.skip("too many at once")
            self._keep_summary(batch)
            return False
        before = []
        if person.decisions:
            before = [sums.centred(person.number(n, m), m) for n, m in enumerate(self.experiment.metric)]
        due_ms = batch.settled_ms + self._window_ms
        person.begin(summary.arms.index(trail.arm), trail.allocation, due_ms, before)
        chunk = self._chunk(summary.last)
        if len(chunk) >= CHUNK:
            summary.last += 1
            chunk = self._chunk(summary.last)
        chunk.append(name)
        self._keep_chunk(summary.last, chunk, batch)
        summary.measured += 1
        summary.drawn += 1
        self._keep_summary(batch)
        return True

    def may_be_counted(self, subject: str) -> bool:
        """Whether the person agrees to the placement, and to what the sums are sent for."""
        egress = self._agent.gate.ledger.declared("experiment")
        purposes = {*self._placement.purposes, *(egress.purposes if egress else ())}
        return self._agent.consents.all_allowed(purposes, subject)

    def forget(self, subject: str, batch: Batch) -> None:
        """Somebody takes consent back: what was measured of the person goes, what was counted is in sums of many."""
        for name in dict.fromkeys((self._agent.people.person(subject, batch.now_ms), subject)):
            self.people.replace(self._person_key(name), Person())
            batch.drop("experiment", self._person_key(name))

    def tick(self, batch: Batch) -> None:
        """Count those whose window has ended, or whose arm's share has changed; then report what is new."""
        dealt_with = 0
        summary = self.summary
        while summary.measured and dealt_with < FOLDED_MAX:
            chunk = self._chunk(summary.first)
            if summary.offset >= len(chunk):
                self._next_chunk(batch)
                if summary.first == summary.last and not self._chunk(summary.last):
                    # The device was off for longer than rows are kept.
                    summary.skip("forgotten", summary.measured)
                    summary.measured, dealt_with = 0, dealt_with + 1
                continue
            name = chunk[summary.offset]
            person = self.people.get(self._person_key(name))
            moved_on = person.allocation < self.assignment.allocation
            if person.state == MEASURED and not moved_on and batch.settled_ms < person.due_ms:
                break
            self._count(name, person, batch)
            summary.offset, summary.measured, dealt_with = summary.offset + 1, summary.measured - 1, dealt_with + 1
            if summary.offset >= len(chunk):
                self._next_chunk(batch)
        if dealt_with:
            self._keep_summary(batch)
        self._report(batch)

    def _next_chunk(self, batch: Batch) -> None:
        """All of the oldest stretch have been dealt with: it goes."""
        summary = self.summary
        batch.drop("experiment", self._chunk_key(summary.first))
        summary.first, summary.offset = summary.first + 1, 0
        summary.last = max(summary.last, summary.first)

    def _count(self, name: str, person: Person, batch: Batch) -> None:
        if person.state != MEASURED:
            self.summary.skip("forgotten")
            return
        if self.may_be_counted(name):
            metrics = self.experiment.metric
            outcomes = [sums.centred(person.number(n, metric), metric) for n, metric in enumerate(metrics)]
            self.summary.add(person.allocation, person.arm, sums.row(outcomes, person.before))
        else:
            self.summary.skip("no consent")
        person.finish(batch.settled_ms)
        self._keep(name, person, batch)

    def _report(self, batch: Batch) -> None:
        gate, summary = self._agent.gate, self.summary
        egress = gate.ledger.declared("experiment")
        since_ms = batch.now_ms - summary.reported_ms
        if egress is None or not summary.unreported or 0 <= since_ms < self.experiment.report_every_s * 1_000:
            return
        word = ExperimentReport(
            device=self._agent.device,
            experiment=self.experiment.name,
            plan=self.plan,
            tables=bounded(summary.tables, egress),
            time_ms=batch.now_ms,
        )
        topic = Topics(self._agent.device).of("experiment", self.experiment.name)
        # What is not sent, the gate says and counts; it is tried again when the next report is due.
        sent = gate.send(
            "experiment", topic, write_word(word, as_json=False), batch, retain=True, privacy=_told(egress)
        )
        summary.reported_ms, summary.unreported = batch.now_ms, not sent
        self._keep_summary(batch)

    def _chunk_key(self, number: int) -> str:
        return f"queue\x00{self._key}\x00{number:09d}"

    def _chunk(self, number: int) -> list[str]:
        return self._chunks.get(self._chunk_key(number))

    def _keep_chunk(self, number: int, chunk: list[str], batch: Batch) -> None:
        expires_ms = batch.settled_ms + self._kept_ms
        batch.touch("experiment", self._chunk_key(number), lambda: msgspec.msgpack.encode(chunk), expires_ms)

    def _keep(self, name: str, person: Person, batch: Batch) -> None:
        expires_ms = batch.settled_ms + self._kept_ms
        batch.touch("experiment", self._person_key(name), lambda: msgspec.msgpack.encode(person), expires_ms)

    def _keep_summary(self, batch: Batch) -> None:
        summary, expires_ms = self.summary, batch.settled_ms + self._agent.longest_ms
        batch.touch("experiment", f"sums\x00{self._key}", lambda: msgspec.msgpack.encode(summary), expires_ms)


class DeviceExperiments:
    """All experiments of a device."""

    def __init__(self, agent: "Agent", assigned: Iterable[tuple[Placement, Assignment]]) -> None:
        self._agent = agent
        self.by_placement = {place.name: Running(agent, place, assignment) for place, assignment in assigned}
        self.by_name = {one.experiment.name: one for one in self.by_placement.values()}
        self._told = not agent.record

    def begin(self, batch: Batch) -> None:
        """Between steps: let go of what is cold; and once a run, note for a replay which shares hold."""
        for one in self.by_placement.values():
            one.trim()
        if not self._told:
            self._told = True
            for name, one in self.by_name.items():
                if one.assignment.allocation:
                    shares = _named(one.assignment)
                    self._note(name, Shares(plan=one.plan, number=one.assignment.allocation, shares=shares), batch)

    def allocate(self, words: Mapping[str, Shares], batch: Batch) -> None:
        """Take the shares that the coordinator wants."""
        for name, word in words.items():
            one = self.by_name.get(name)
            if one is not None and one.allocate(word, batch):
                self._agent.count("experiment.allocations")
                if self._agent.record:
                    self._note(name, word, batch)

    def forget(self, subject: str, batch: Batch) -> None:
        """Somebody takes consent back."""
        for one in self.by_placement.values():
            if not one.may_be_counted(subject):
                one.forget(subject, batch)

    def _note(self, name: str, word: Shares, batch: Batch) -> None:
        happening = Allocated(experiment=name, plan=word.plan, number=word.number, shares=word.shares)
        self._agent.journal(happening, batch)

    def tick(self, batch: Batch) -> None:
        """Time has passed."""
        for one in self.by_placement.values():
            one.tick(batch)


def bounded(tables: Mapping[int, list[list[float]]], egress: Egress) -> dict[int, list[list[float]]]:
    """The tables as they may leave: with privacy whose unit is a device, clipped to what one device may contribute."""
    privacy = egress.privacy
    if privacy is None or privacy.unit == "person":
        return dict(tables)
    import numpy as np

    clipped = sums.clipped({n: np.array(table) for n, table in tables.items()}, privacy.clip_norm)
    return {n: table.tolist() for n, table in clipped.items()}


def _named(assignment: Assignment) -> dict[str, float]:
    return {arm.name: share for arm, share in zip(assignment.arms, assignment.shares, strict=True)}


def _told(egress: Egress) -> str:
    privacy = egress.privacy
    if privacy is None:
        return "sums over people, not clipped, no noise"
    bound = f"clip {privacy.clip_norm:g} a device" if privacy.unit == "device" else "each person once, within bounds"
    return f"sums over people, {bound}; noise {privacy.noise_multiplier:g} is added by the coordinator"


__all__ = ["COUNTED", "DeviceExperiments", "Running", "bounded"]
