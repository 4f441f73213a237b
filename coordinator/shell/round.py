"""One round: who is asked, what they are asked, and what came of it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from flwr.serverapp import Grid
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import cohort, rounds
from coordinator.errors import RunInterrupted, TooFewReports
from coordinator.rounds import Round
from coordinator.shell import fault
from coordinator.shell import grid as nodes
from coordinator.shell.admitting import Admission
from coordinator.shell.checkpoint import Checkpoint
from coordinator.shell.grid import Replies
from coordinator.shell.job import Job
from coordinator.shell.plans import plan_of, vectors_of
from coordinator.shell.private_run import enter_noised
from coordinator.shell.secret_grid import Secret, Summed, sum_in_secret
from coordinator.shell.store import Store
from coordinator.shell.vetting import vetted
from coordinator.shell.watch import answers
from models.bundle import Bundle

F32 = NDArray[np.float32]


class Gathered(Struct, frozen=True, kw_only=True):
    """What a round brought: single reports, or their sum alone."""

    row: Round
    replies: Replies = Replies()
    summed: Summed | None = None


def secret_dice() -> np.random.Generator:
    """For what nobody may know: who was asked, and the noise."""
    return np.random.default_rng(int.from_bytes(os.urandom(32)))


class Asking(Struct, frozen=True, kw_only=True):
    """What a round needs besides the job: whom to talk to, and what to do meanwhile."""

    grid: Grid
    store: Store
    not_before: float = 0.0
    """Monotonic time, s: when devices that were offered the run at once have all had their turn to come."""
    meanwhile: Callable[[], None] = lambda: None
    keep: Callable[[Gathered], None] = lambda _found: None
    """Takes what came in, before the round is closing."""


def gather(asking: Asking, job: Job, row: Round, bundle: Bundle, now: Checkpoint) -> Gathered:
    """Choose the nodes, ask them, and close the round.

    Raises:
        TooFewReports: too few nodes, or too few of them gave a usable report.
        AggregationFailed: a secret sum could not be made.
        RunInterrupted: the SuperLink is gone before anything was paid for a secret sum.
    """
    needed = job.minimum_reports
    until = time.monotonic() + job.join_s
    may = Admission(Path(job.home), job.demands, bundle.spec)
    there = nodes.online(asking.grid, max(needed, job.wanted), job.enrolled, until, asking.not_before, may)
    if job.private is not None:
        asked = cohort.sample(there, job.private.rate, secret_dice())
    else:
        dice = np.random.default_rng([job.seed, row.number, row.attempt])
        asked = cohort.select(there, job.wanted, job.over_selection, dice)
    opened = msgspec.structs.replace(rounds.advance(row, "open"), asked=len(asked), unfit=may.out.total())
    row = put(asking.store, opened)
    fault.point("open", row.number)
    if len(asked) < needed:
        raise TooFewReports(
            f"{len(asked)} nodes are online{may.told()}, {needed} reports are needed",
            hint="are the agents up, do they have examples and consent? see `reported.learning` of each device",
        )
    if job.secret is not None:
        return _in_secret(asking, job, job.secret, row, asked, bundle, now)
    return _plainly(asking, job, row, asked, bundle, now)


def put(store: Store, row: Round) -> Round:
    """Write the round's newest state down; returns it."""
    store.put_round(row)
    return row


def _plainly(asking: Asking, job: Job, row: Round, asked: list[int], bundle: Bundle, now: Checkpoint) -> Gathered:
    parameters = bundle.spec.of_share("shared")
    replies = nodes.ask(
        asking.grid,
        asked,
        vectors_of(job, bundle, now),
        plan_of(job, row, bundle),
        parameters,
        # Stopping early at the fastest would choose among those that the coin chose.
        wanted=0 if job.private else job.wanted,
        deadline_s=job.deadline_s,
        meanwhile=asking.meanwhile,
    )
    if job.private is None and not job.unlearn:  # whoever takes something back goes against everybody
        kept, out = vetted(Path(job.home), job.key, row.number, replies.reports, job.clip_norm, job.top_k)
        replies = msgspec.structs.replace(replies, reports=kept, refusals=(*replies.refusals, *out))
    row = msgspec.structs.replace(
        rounds.advance(row, "closing"),
        reports=len(replies.reports),
        refused=len(replies.refusals),
        bytes_up=replies.bytes_up,
        bytes_down=replies.bytes_down,
    )
    found = Gathered(row=row, replies=replies)
    if len(replies.reports) < job.minimum_reports:
        put(asking.store, row)
        said = f"; said no: {'; '.join(sorted(set(replies.refusals))[:3])}" if replies.refusals else ""
        raise TooFewReports(
            f"{len(replies.reports)} usable reports of {len(asked)}, {job.minimum_reports} are needed{said}",
            hint="raise --deadline-s, or see the agents' logs",
        )
    asking.keep(found)
    put(asking.store, row)
    fault.point("closing", row.number)
    return found


def _in_secret(
    asking: Asking,
    job: Job,
    secret: Secret,
    row: Round,
    asked: list[int],
    bundle: Bundle,
    now: Checkpoint,
) -> Gathered:
    closed = row

    def closing(count: int) -> None:
        nonlocal closed
        closed = put(asking.store, msgspec.structs.replace(rounds.advance(row, "closing"), reports=count))
        fault.point("closing", row.number)

    def unmasking() -> None:
        fault.point("unmasking", row.number)
        if not answers(job.control):  # nobody would take the masks off: the price would be paid for nothing
            raise RunInterrupted("the SuperLink is gone", hint="start it: edge-coordinator up")
        enter_noised(job, row.number, bundle.spec.name)

    summed = sum_in_secret(
        asking.grid,
        asked,
        f"{job.key}:{row.number}:{row.attempt}",
        vectors_of(job, bundle, now),
        plan_of(job, row, bundle),
        secret,
        minimum=job.minimum_reports,
        deadline_s=job.deadline_s,
        seed=(job.seed * 100_003 + row.number) * 1_009 + row.attempt,
        closing=closing,
        unmasking=unmasking,
        unmasked=lambda: fault.point("unmasked", row.number),
    )
    closed = msgspec.structs.replace(
        closed,
        reports=summed.members,
        refused=len(asked) - summed.members,
        bytes_up=summed.bytes_up,
        bytes_down=summed.bytes_down,
    )
    found = Gathered(row=closed, summed=summed)
    asking.keep(found)
    put(asking.store, closed)
    return found
