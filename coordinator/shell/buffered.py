"""A run without common rounds: devices are asked as they come online, and every so many reports make a version.

A version is a row of the same state table as a round: open while its buffer fills, closing once it is full. What comes
in is on disk before it counts (`buffer`), and a run that is cut off goes on with it; what devices were at work on is
asked for again.
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
from coordinator.shell import fault
from coordinator.shell.admitting import Admission
from coordinator.shell.buffer import Buffer, Came
from coordinator.shell.checkpoint import Checkpoint
from coordinator.shell.grid import Pause, read_report, record_of, size_of
from coordinator.shell.job import Job
from coordinator.shell.plans import plan_of, vectors_of
from coordinator.shell.round import put
from coordinator.shell.steps import Steps
from coordinator.shell.store import Store
from coordinator.strategies.asynchronous import Arrival, Asynchronous, buffered
from coordinator.strategies.combine import Occasion
from models.bundle import Bundle

F32 = NDArray[np.float32]
GOES_ON = ("open", "closing")
"""States in which a version that was cut off has a buffer to go on with."""


class _Sent(Struct, frozen=True):
    node: int
    version: int


class Line:
    """Who was asked for what, over all versions of a run."""

    def __init__(self, grid: Grid, job: Job, bundle: Bundle) -> None:
        self._grid, self._job = grid, job
        self._may = Admission(Path(job.home), job.demands, bundle.spec)
        self._waiting: dict[str, _Sent] = {}
        self._newest: dict[int, int] = {}
        """Node → the newest version that it was asked about."""
        self.down = self.up = 0
        self.refusals: list[str] = []

    def heard_before(self, came: Iterable[Came]) -> None:
        """Reports of an earlier session: who gave one has had a say in its version."""
        for one in came:
            self._newest[one.report.node] = max(one.version, self._newest.get(one.report.node, 0))

    def ask(self, there: Iterable[int], row: Round, bundle: Bundle, now: Checkpoint) -> int:
        """Ask those who may be asked, are not at work, and have had no say in this version; returns how many.

        Args:
            there: who is online.
        """
        online = set(self._may(list(there)))
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

    def hear(self, bundle: Bundle) -> list[Came]:
        """What has come in, of this version and of those before."""
        found: list[Came] = []
        if not self._waiting:
            return found
        for reply in self._grid.pull_messages(list(self._waiting)):
            sent = self._waiting.pop(reply.metadata.reply_to_message_id, None)
            if sent is None:
                continue
            try:
                own = msgspec.structs.replace(read_report(reply, bundle.spec.of_share("shared")), node=sent.node)
                report = aggregate.bounded(own, self._job.clip_norm)
            except AggregationFailed as error:
                self.refusals.append(error.what)
                continue
            self.up += size_of(reply)
            found.append(Came(sent.version, report))
        return found


def as_they_come(grid: Grid, job: Job, own: Asynchronous, store: Store, steps: Steps, now: Checkpoint) -> Checkpoint:
    """Make the versions of a run that are not made yet.

    Args:
        steps: says where the run stands, and saves each version before the next begins.
        now: the newest version.
    Raises:
        RoundError: a version's buffer did not fill in `deadline_s`, or its sum is not finite. The run is abandoned.
    """
    line = Line(grid, job, steps.bundle)
    early: list[Came] = []
    known = {row.number: row for row in store.rounds(job.key)}
    for number in range(1, job.rounds + 1):
        held = known.get(number)
        if held is not None and held.state in ("accounted", "published"):
            Buffer(job, number).forget()
            continue
        if held is not None and held.state == "aggregated":
            now = steps.through(number, held, now)
            Buffer(job, number).forget()
            continue
        early = early or Buffer(job, number).read()
        line.heard_before(early)
        row = held if held is not None and held.state in GOES_ON and early else steps.next_attempt(number, held)
        try:
            now, early = _version(line, grid, job, own, store, put(store, row), steps, now, early)
        except RoundError as error:
            if isinstance(error, AggregationFailed):
                Buffer(job, number).forget()  # these reports give nothing; too few of them wait for more
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
    early: list[Came],
) -> tuple[Checkpoint, list[Came]]:
    """Fill one buffer and take it; returns the next version, and what came in beyond the buffer.

    Args:
        early: what is here already, and on disk where it may be.
    """
    started, bundle, pause = time.monotonic(), steps.bundle, Pause()
    before = put(store, rounds.advance(row, "open") if row.state == "planned" else row)
    up, down, refused = line.up, line.down, len(line.refusals)
    came, asked, kept = list(early), 0, Buffer(job, row.number)

    def so_far(state: rounds.State) -> Round:
        return msgspec.structs.replace(
            before,
            state=state,
            asked=before.asked + asked,
            reports=min(len(came), own.buffer),
            refused=before.refused + len(line.refusals) - refused,
            bytes_up=before.bytes_up + line.up - up,
            bytes_down=before.bytes_down + line.down - down,
        )

    while len(came) < own.buffer:
        if time.monotonic() - started > job.deadline_s:
            said = f"; said no: {'; '.join(sorted(set(line.refusals))[:3])}" if line.refusals else ""
            raise TooFewReports(
                f"{len(came)} reports came in {job.deadline_s:g} s, a version needs {own.buffer}{said}",
                hint="a smaller --buffer, or a longer --deadline-s",
            )
        asked += line.ask(grid.get_node_ids(), row, bundle, now)
        if heard := line.hear(bundle):
            kept.append(heard)
            came += heard
            put(store, so_far("open"))
            fault.point("buffered", len(came))
            pause.came()
        pause.rest()
    taken = [Arrival(report=one.report, age=row.number - one.version) for one in came[: own.buffer]]
    rest = came[own.buffer :]
    row = put(store, msgspec.structs.replace(so_far("closing"), staleness=float(np.mean([one.age for one in taken]))))
    occasion = Occasion(number=row.number, rounds=job.rounds, lr=job.lr, devices=job.devices, seed=job.seed)
    shared, state = buffered(job.strategy, now.shared, taken, own.staleness, now.state, occasion)
    losses = aggregate.weighted([one.report for one in taken])
    row = msgspec.structs.replace(
        rounds.advance(row, "aggregated"),
        loss_before=losses[0],
        loss_after=losses[1],
        seconds=round(time.monotonic() - started, 3),
    )
    made = Checkpoint(shared=shared, state=state)
    if row.number < job.rounds:
        Buffer(job, row.number + 1).begin(rest)
    steps.seal(row, made)
    kept.forget()
    return made, rest
