"""A round in which no update leaves a device: counts of scores and outcomes by group, added up over k devices or more.

The server app reads each device's counts to add them, and keeps the sum alone.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import rounds
from coordinator.errors import AggregationFailed, TooFewReports
from coordinator.rounds import Round
from coordinator.shell import grid as nodes
from coordinator.shell.job import Job
from coordinator.shell.store import Store
from coordinator.shell.vetting import allowed
from models import score_counts
from models.bundle import open_bundle

I64 = NDArray[np.int64]


class Told(Struct, frozen=True, kw_only=True):
    """What devices told when each was asked by itself."""

    tables: list[NDArray[Any]]
    refusals: list[str]
    bytes_up: int


def count(grid: Grid, job: Job, store: Store) -> dict[str, NDArray[Any]]:
    """Ask everyone who is online for counts, and add them up.

    Returns:
        `counts`, int64 (groups + 1, BINS, 2), the last group being `other`; `devices`, int64 (1,).
    Raises:
        TooFewReports: of fewer devices than must be added up; nothing is told then.
    """
    groups = job.groups or ()
    spec = open_bundle(Path(job.bundle)).spec
    began = time.monotonic()
    row, asked = opened(grid, job, store)
    plan: dict[str, Any] = {
        "statistic": job.counts,
        "bundle": spec.name,
        "version": spec.version,
        "groups": list(groups),
        "minimum": job.minimum_reports,
    }
    told = ask(grid, job, asked, plan, began, lambda reply: _read(reply, len(groups) + 1))
    total = np.zeros((len(groups) + 1, score_counts.BINS, 2), np.int64)
    for table in told.tables:
        total += table
    row = msgspec.structs.replace(row, bytes_up=told.bytes_up)
    close(store, job, row, len(told.tables), told.refusals, began)
    return {"counts": total, "devices": np.array([len(told.tables)], np.int64)}


def opened(grid: Grid, job: Job, store: Store) -> tuple[Round, list[int]]:
    """The run's one round, with everyone who is online and may be asked."""
    row = Round(run=job.key, number=1)
    store.put_round(row)
    until = time.monotonic() + job.join_s
    online = nodes.online(grid, job.minimum_reports, job.devices, until, not_before=until)
    asked = allowed(Path(job.home), online)
    row = msgspec.structs.replace(rounds.advance(row, "open"), asked=len(asked))
    store.put_round(row)
    return row, asked


def ask(
    grid: Grid, job: Job, asked: Sequence[int], plan: dict[str, Any], began: float, read: Callable[[Message], Any]
) -> Told:
    """Send each node the plan, and read what comes back in time.

    Args:
        began: monotonic time, s, at which the round began.
        read: a reply → its array; raises AggregationFailed for one that says no or is not usable.
    """
    record = RecordDict({"plan": ConfigRecord(plan)})
    messages = [
        Message(content=record, dst_node_id=node, message_type="train", group_id="1", ttl=job.deadline_s + 60)
        for node in asked
    ]
    waiting = {identity for identity in grid.push_messages(messages) if identity} if messages else set()
    tables: list[NDArray[Any]] = []
    refusals: list[str] = []
    up = 0
    pause = nodes.Pause()
    while waiting and time.monotonic() < began + job.join_s + job.deadline_s:
        pause.rest()
        for reply in grid.pull_messages(list(waiting)):
            pause.came()
            waiting.discard(reply.metadata.reply_to_message_id)
            try:
                tables.append(read(reply))
                up += nodes.size_of(reply)
            except AggregationFailed as error:
                refusals.append(error.what)
    return Told(tables=tables, refusals=refusals, bytes_up=up)


def close(store: Store, job: Job, row: Round, told: int, refusals: Sequence[str], began: float) -> None:
    """Bring the round to its end.

    Raises:
        TooFewReports: fewer devices told anything than must be added up.
    """
    row = msgspec.structs.replace(
        rounds.advance(row, "closing"),
        reports=told,
        refused=len(refusals),
        seconds=round(time.monotonic() - began, 3),
    )
    store.put_round(row)
    if told < job.minimum_reports:
        said = f"; said no: {'; '.join(sorted(set(refusals))[:3])}" if refusals else ""
        store.put_round(rounds.abandon(row, "too few counts"))
        raise TooFewReports(
            f"{told} devices told counts, {job.minimum_reports} must be added up{said}",
            hint="wait for more devices; see `reported.learning` of each",
        )
    for state in ("aggregated", "accounted"):
        row = rounds.advance(row, state)
        store.put_round(row)


def _read(reply: Message, groups: int) -> I64:
    sent = array_of(reply)
    wrong = score_counts.fault(sent, groups)
    if wrong:
        raise AggregationFailed(wrong, hint="update the device's agent")
    return np.asarray(sent, np.int64).reshape(groups, score_counts.BINS, 2)


def array_of(reply: Message) -> NDArray[np.generic]:
    """The one array that a reply holds.

    Raises:
        AggregationFailed: it says no, or there is not one.
    """
    if reply.has_error():
        said = "".join(c for c in str(reply.error.reason)[: nodes.REASON_MAX] if c.isprintable())
        raise AggregationFailed(said, hint="see the device's log")
    sent = list(nodes.content_of(reply)[0].values())
    if len(sent) != 1:
        raise AggregationFailed("there is not one array of counts", hint="update the device's agent")
    return sent[0]
