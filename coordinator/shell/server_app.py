"""The server app: runs a job's rounds on Flower's grid. The SuperLink starts it in a process of its own."""

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import aggregate, rounds
from coordinator.cohort import may_close, select
from coordinator.errors import AggregationFailed, RoundError, TooFewReports
from coordinator.rounds import Round
from coordinator.shell.store import Store
from models import arrays as tensors
from models.bundle import open_bundle

F32 = NDArray[np.float32]
POLL_S = 0.05

app = ServerApp()


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `edge-coordinator train` asks of a run."""

    home: str
    key: str
    bundle: str
    """The parent's file."""
    rounds: int
    minimum_reports: int
    wanted: int = 0
    """Reports hoped for in a round; 0: everyone who is online."""
    over_selection: float = 0.3
    join_s: float = 30.0
    """How long to wait for enough nodes before the first round."""
    deadline_s: float = 60.0
    """How long a round waits for reports."""
    epochs: int
    lr: float
    batch: int
    negatives: int
    clip_norm: float
    prox_mu: float = 0.0
    seed: int = 0


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the job that the run's configuration names."""
    path = Path(str(context.run_config["job"]))
    job = msgspec.json.decode(path.read_bytes(), type=Job)
    store = Store(Path(job.home))
    try:
        shared = _run(grid, job, store)
    except RoundError as error:
        store.end(job.key, failure=f"{error.what}; {error.hint}")
        return
    # The command that started the run signs and publishes; it waits for this file.
    draft = path.with_name("result.part")
    draft.write_bytes(tensors.pack(shared))
    draft.replace(path.with_name("result.npz"))


def _run(grid: Grid, job: Job, store: Store) -> dict[str, F32]:
    bundle = open_bundle(Path(job.bundle))
    weights = bundle.weights()
    shared = {p.name: weights[p.name] for p in bundle.spec.of_share("shared")}
    for number in range(1, job.rounds + 1):
        row = Round(run=job.key, number=number)
        store.put_round(row)
        plan = {
            "bundle": bundle.spec.name,
            "version": bundle.spec.version,
            "round": number,
            "rounds": job.rounds,
            "epochs": job.epochs,
            "lr": job.lr,
            "batch": job.batch,
            "negatives": job.negatives,
            "clip_norm": job.clip_norm,
            "prox_mu": job.prox_mu,
            "seed": job.seed,
        }
        shared = _round(grid, job, store, row, shared, plan)
    return shared


def _round(
    grid: Grid, job: Job, store: Store, row: Round, shared: dict[str, F32], plan: dict[str, Any]
) -> dict[str, F32]:
    """One round: ask, wait, average. An abandoned round changes nothing and ends the run."""
    started = time.monotonic()
    nodes = _online(grid, job)
    asked = select(nodes, job.wanted, job.over_selection, np.random.default_rng([job.seed, row.number]))
    row = _put(store, msgspec.structs.replace(rounds.advance(row, "open"), asked=len(asked)))
    try:
        if len(asked) < job.minimum_reports:
            raise TooFewReports(
                f"{len(asked)} nodes are online, {job.minimum_reports} reports are needed",
                hint="are the agents up, do they have examples and consent? see `reported.learning` of each device",
            )
        replies = _collect(grid, job, asked, shared, plan)
        row = _put(store, rounds.advance(row, "closing"))
        reports, refusals = _usable(replies, {name: value.shape for name, value in shared.items()})
        if len(reports) < job.minimum_reports:
            raise TooFewReports(
                f"{len(reports)} usable reports of {len(asked)}, {job.minimum_reports} are needed"
                + (f"; said no: {'; '.join(sorted(set(refusals))[:3])}" if refusals else ""),
                hint="raise --deadline-s, or see the agents' logs",
            )
        new = aggregate.average(shared, reports)
    except RoundError as error:
        _put(store, rounds.abandon(row, error.what))
        raise
    before, after = aggregate.weighted(reports)
    size = sum(value.nbytes for value in shared.values())
    row = msgspec.structs.replace(
        rounds.advance(row, "aggregated"),
        reports=len(reports),
        refused=len(refusals),
        loss_before=before,
        loss_after=after,
        bytes_up=sum(delta.nbytes for report in reports for delta in report.delta.values()),
        bytes_down=size * len(asked),
        seconds=round(time.monotonic() - started, 3),
    )
    _put(store, row)
    _put(store, rounds.advance(row, "accounted"))
    return new


def _put(store: Store, row: Round) -> Round:
    store.put_round(row)
    return row


def _online(grid: Grid, job: Job) -> list[int]:
    """The nodes that are online, once there are enough or the time to join is over."""
    deadline = time.monotonic() + job.join_s
    nodes = list(grid.get_node_ids())
    while len(nodes) < max(job.minimum_reports, job.wanted) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        nodes = list(grid.get_node_ids())
    return nodes


def _collect(grid: Grid, job: Job, nodes: list[int], shared: dict[str, F32], plan: dict[str, Any]) -> list[Message]:
    """Send the round's message to each node and wait for replies."""
    content = RecordDict(
        {
            "shared": ArrayRecord({name: Array(value) for name, value in shared.items()}),
            "plan": ConfigRecord(plan),
        }
    )
    messages = [
        Message(content=content, dst_node_id=node, message_type="train", group_id=str(plan["round"])) for node in nodes
    ]
    waiting = {identity for identity in grid.push_messages(messages) if identity}
    replies: list[Message] = []
    started = time.monotonic()
    while not may_close(len(replies), len(nodes), time.monotonic() - started, job.deadline_s) and waiting:
        for reply in grid.pull_messages(list(waiting)):
            waiting.discard(reply.metadata.reply_to_message_id)
            replies.append(reply)
        time.sleep(POLL_S)
    return replies


def _usable(replies: list[Message], shapes: dict[str, tuple[int, ...]]) -> tuple[list[aggregate.Report], list[str]]:
    """The reports, and why others are none."""
    reports, refusals = [], []
    for reply in replies:
        if reply.has_error():
            refusals.append(str(reply.error.reason))
            continue
        arrays = {n: a.numpy() for record in reply.content.array_records.values() for n, a in record.items()}
        facts = {n: v for record in reply.content.config_records.values() for n, v in record.items()}
        try:
            reports.append(aggregate.checked(arrays, facts, shapes))
        except AggregationFailed as error:
            refusals.append(error.what)
    return reports, refusals
