"""A run without common rounds: devices are asked as they come online, and every so many reports make a version.

A version is a row of the same state table as a round: open while its buffer fills, closing once it is full. What has
come in and is not yet in a version is lost when the server app dies; what devices still work on is not.
"""

import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import aggregate, rounds
from coordinator.errors import AggregationFailed, RoundError, TooFewReports
from coordinator.rounds import Round
from coordinator.shell.checkpoint import Checkpoint
from coordinator.shell.grid import POLL_S, read_report, record_of, size_of
from coordinator.shell.job import Job
from coordinator.shell.plans import plan_of, vectors_of
from coordinator.shell.round import put
from coordinator.shell.steps import Steps
from coordinator.shell.store import Store
from coordinator.shell.vetting import allowed
from coordinator.strategies.asynchronous import Arrival, Asynchronous, buffered
from coordinator.strategies.combine import Occasion
from models.bundle import Bundle

F32 = NDArray[np.float32]


class _Sent(Struct, frozen=True):
    node: int
    version: int


class Line:
    """Who was asked for what, over all versions of a run."""

    def __init__(self, grid: Grid, job: Job) -> None:
        self._grid, self._job = grid, job
        self._waiting: dict[str, _Sent] = {}
        self._newest: dict[int, int] = {}
        """Node → the newest version that it was asked about."""
        self.down = self.up = 0
        self.refusals: list[str] = []

    def ask(self, there: Iterable[int], row: Round, bundle: Bundle, now: Checkpoint) -> int:
        """Ask those who are online, are not at work, and have had no say in this version; returns how many."""
        online = set(there)
        # One that went away in between may come back without its message: it is asked again. What it had begun with
        # still counts if it comes.
        busy = {sent.node for sent in self._waiting.values() if sent.node in online}
        self._newest = {n: v for n, v in self._newest.items() if n in online or v < row.number}
        free = [node for node in sorted(online) if node not in busy and self._newest.get(node) != row.number]
        if not free:
            return 0
        content = record_of(
            vectors_of(self._job, bundle, now), {**plan_of(self._job, row, bundle), "asynchronous": True}
        )
        life = self._job.rounds * self._job.deadline_s + 60
        messages = [
            Message(content=content, dst_node_id=node, message_type="train", group_id=str(row.number), ttl=life)
            for node in free
        ]
        self.down += sum(map(size_of, messages))
        for identity, node in zip(self._grid.push_messages(messages), free, strict=True):
            if identity:
                self._waiting[identity] = _Sent(node, row.number)
                self._newest[node] = row.number
        return len(free)

    def hear(self, number: int, bundle: Bundle) -> list[Arrival]:
        """What has come in, of this version and of those before."""
        found: list[Arrival] = []
        if not self._waiting:
            return found
        for reply in self._grid.pull_messages(list(self._waiting)):
            sent = self._waiting.pop(reply.metadata.reply_to_message_id, None)
            if sent is None:
                continue
            try:
                report = aggregate.bounded(read_report(reply, bundle.spec.of_share("shared")), self._job.clip_norm)
            except AggregationFailed as error:
                self.refusals.append(error.what)
                continue
            self.up += size_of(reply)
            found.append(Arrival(report=report, age=number - sent.version))
        return found


def as_they_come(grid: Grid, job: Job, own: Asynchronous, store: Store, steps: Steps, now: Checkpoint) -> Checkpoint:
    """Make the versions of a run that are not made yet.

    Args:
        steps: says where the run stands, and saves each version before the next begins.
        now: the newest version.
    Raises:
        RoundError: a version's buffer did not fill in `deadline_s`, or its sum is not finite. The run is abandoned.
    """
    line = Line(grid, job)
    early: list[Arrival] = []
    known = {row.number: row for row in store.rounds(job.key)}
    for number in range(1, job.rounds + 1):
        held = known.get(number)
        if held is not None and held.state in ("accounted", "published"):
            continue
        if held is not None and held.state == "aggregated":
            now = steps.through(number, held, now)
            continue
        row = put(store, steps.next_attempt(number, held))
        try:
            now, early = _version(line, grid, job, own, store, row, steps, now, early)
        except RoundError as error:
            put(store, rounds.abandon(store.rounds(job.key)[-1], error.what))
            raise
    return now


def _version(
    line: Line,
    grid: Grid,
    job: Job,
    own: Asynchronous,
    store: Store,
    row: Round,
    steps: Steps,
    now: Checkpoint,
    early: list[Arrival],
) -> tuple[Checkpoint, list[Arrival]]:
    """Fill one buffer and take it; returns the next version, and what came in beyond the buffer."""
    started, bundle = time.monotonic(), steps.bundle
    row = put(store, rounds.advance(row, "open"))
    up, down, refused = line.up, line.down, len(line.refusals)
    arrivals, asked = [msgspec.structs.replace(one, age=one.age + 1) for one in early], 0
    while len(arrivals) < own.buffer:
        if time.monotonic() - started > job.deadline_s:
            said = f"; said no: {'; '.join(sorted(set(line.refusals))[:3])}" if line.refusals else ""
            raise TooFewReports(
                f"{len(arrivals)} reports came in {job.deadline_s:g} s, a version needs {own.buffer}{said}",
                hint="a smaller --buffer, or a longer --deadline-s",
            )
        asked += line.ask(allowed(Path(job.home), list(grid.get_node_ids())), row, bundle, now)
        arrivals += line.hear(row.number, bundle)
        time.sleep(POLL_S)
    taken, rest = arrivals[: own.buffer], arrivals[own.buffer :]
    row = msgspec.structs.replace(
        rounds.advance(row, "closing"),
        asked=asked,
        reports=len(taken),
        refused=len(line.refusals) - refused,
        bytes_up=line.up - up,
        bytes_down=line.down - down,
        staleness=float(np.mean([one.age for one in taken])),
    )
    row = put(store, row)
    occasion = Occasion(number=row.number, rounds=job.rounds, lr=job.lr, devices=job.devices, seed=job.seed)
    shared, state = buffered(job.strategy, now.shared, taken, own.staleness, now.state, occasion)
    before, after = aggregate.weighted([one.report for one in taken])
    row = msgspec.structs.replace(
        rounds.advance(row, "aggregated"),
        loss_before=before,
        loss_after=after,
        seconds=round(time.monotonic() - started, 3),
    )
    made = Checkpoint(shared=shared, state=state)
    steps.seal(row, made)
    return made, rest
