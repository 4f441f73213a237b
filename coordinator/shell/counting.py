"""A round in which no update leaves a device: counts of scores and outcomes by group, added up over k devices or more.

The server app reads each device's counts to add them, and keeps the sum alone.
"""

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from coordinator import rounds
from coordinator.errors import AggregationFailed, TooFewReports
from coordinator.rounds import Round
from coordinator.shell import grid as nodes
from coordinator.shell.job import Job
from coordinator.shell.store import Store
from coordinator.shell.vetting import allowed
from models import arrays, score_counts
from models.bundle import open_bundle
from models.errors import ModelError

I64 = NDArray[np.int64]


def count(grid: Grid, job: Job, store: Store) -> dict[str, NDArray[Any]]:
    """Ask everyone who is online for counts, and add them up.

    Returns:
        `counts`, int64 (groups + 1, BINS, 2), the last group being `other`; `devices`, int64 (1,).
    Raises:
        TooFewReports: of fewer devices than must be added up; nothing is told then.
    """
    groups = job.groups or ()
    spec = open_bundle(Path(job.bundle)).spec
    row = Round(run=job.key, number=1)
    store.put_round(row)
    began = time.monotonic()
    until = began + job.join_s
    online = nodes.online(grid, job.minimum_reports, job.devices, until, not_before=until)
    asked = allowed(Path(job.home), online)
    row = msgspec.structs.replace(rounds.advance(row, "open"), asked=len(asked))
    store.put_round(row)
    plan: dict[str, Any] = {
        "statistic": "scores",
        "bundle": spec.name,
        "version": spec.version,
        "groups": list(groups),
        "minimum": job.minimum_reports,
    }
    record = RecordDict({"plan": ConfigRecord(plan)})
    messages = [
        Message(content=record, dst_node_id=node, message_type="train", group_id="1", ttl=job.deadline_s + 60)
        for node in asked
    ]
    waiting = {identity for identity in grid.push_messages(messages) if identity} if messages else set()
    total, count_, up, refusals = np.zeros((len(groups) + 1, score_counts.BINS, 2), np.int64), 0, 0, list[str]()
    while waiting and time.monotonic() < began + job.join_s + job.deadline_s:
        time.sleep(nodes.POLL_S)
        for reply in grid.pull_messages(list(waiting)):
            waiting.discard(reply.metadata.reply_to_message_id)
            try:
                total += _read(reply, len(groups) + 1)
                count_, up = count_ + 1, up + nodes.size_of(reply)
            except AggregationFailed as error:
                refusals.append(error.what)
    seconds = round(time.monotonic() - began, 3)
    row = msgspec.structs.replace(
        rounds.advance(row, "closing"), reports=count_, refused=len(refusals), bytes_up=up, seconds=seconds
    )
    store.put_round(row)
    if count_ < job.minimum_reports:
        said = f"; said no: {'; '.join(sorted(set(refusals))[:3])}" if refusals else ""
        store.put_round(rounds.abandon(row, "too few counts"))
        raise TooFewReports(
            f"{count_} devices told counts, {job.minimum_reports} must be added up{said}",
            hint="wait for more devices; see `reported.learning` of each",
        )
    for state in ("aggregated", "accounted"):
        row = rounds.advance(row, state)
        store.put_round(row)
    return {"counts": total, "devices": np.array([count_], np.int64)}


def _read(reply: Message, groups: int) -> I64:
    if reply.has_error():
        said = "".join(c for c in str(reply.error.reason)[: nodes.REASON_MAX] if c.isprintable())
        raise AggregationFailed(said, hint="see the device's log")
    try:
        sent = [arrays.read(bytes(a.data), n[:40]) for r in reply.content.array_records.values() for n, a in r.items()]
    except ModelError as error:
        raise AggregationFailed(f"counts cannot be read: {error}", hint="update the device's agent") from error
    wrong = score_counts.fault(sent[0], groups) if len(sent) == 1 else "there is not one array of counts"
    if wrong:
        raise AggregationFailed(wrong, hint="update the device's agent")
    return np.asarray(sent[0], np.int64).reshape(groups, score_counts.BINS, 2)
