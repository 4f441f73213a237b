"""From a round's reports, or their sum, to the next shared parameters; what it costs is entered before."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coordinator import aggregate
from coordinator.shell import clip_path
from coordinator.shell.checkpoint import Checkpoint
from coordinator.shell.job import Job
from coordinator.shell.private_run import enter
from coordinator.shell.round import Gathered, secret_dice
from coordinator.strategies.combine import Occasion, combine, shaped, take
from models.bundle import open_bundle

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def combined(job: Job, number: int, before: Checkpoint, found: Gathered) -> Checkpoint:
    """Where the run stands after the round: shared parameters, and the strategy's own state for the next round.

    Raises:
        AggregationFailed: nothing finite, or too few reports for the rule.
        PrivacyRefused: the budget does not allow the round.
    """
    if job.unlearn:
        return Checkpoint(shared=_taken_out(job, before.shared, found), state=before.state)
    occasion = Occasion(
        number=number,
        rounds=job.rounds,
        lr=job.lr,
        devices=job.devices,
        seed=job.seed,
        rule=job.rule,
        hostile_share=job.hostile_share,
    )
    known = _mean(job, number, before.shared, found)
    if known is None:
        shared, state = combine(job.strategy, before.shared, found.replies.reports, before.state, occasion)
    else:
        update, members = known
        tensors = shaped(before.shared, update)
        shared, state = take(job.strategy, before.shared, tensors, members, before.state, occasion)
    return Checkpoint(shared=shared, state=clip_path.after(job, before.state, state, found))


def _taken_out(job: Job, shared: dict[str, F32], found: Gathered) -> dict[str, F32]:
    """The shared parameters with the last updates added up: each takes out one person's part, whoever else does."""
    if found.summed is not None:
        return aggregate.moved(shared, found.summed.total)
    return aggregate.moved(shared, aggregate.clipped_sum(aggregate.rows(shared, found.replies.reports), job.clip_norm))


def _mean(job: Job, number: int, shared: dict[str, F32], found: Gathered) -> tuple[F64, float] | None:
    """The mean of the updates where it is all that may be known, and of how many; None: look at the reports.

    Raises:
        PrivacyRefused: the budget does not allow the round; what it costs is entered before there is anything to see.
    """
    if job.private is not None:
        own = job.private
        enter(job, own, number, open_bundle(Path(job.bundle)).spec.name)
        if found.summed is not None and own.noise_by == "devices":
            # The noise is in it already; who took part is no secret from whoever asked them.
            return clip_path.without_count(job, found.summed.total) / found.summed.members, float(found.summed.members)
        if found.summed is not None:
            total = clip_path.without_count(job, found.summed.total)
        else:
            total = aggregate.clipped_sum(aggregate.rows(shared, found.replies.reports), job.clip_norm)
        expected = own.rate * own.devices
        return aggregate.noised(total, job.clip_norm, own.vector_multiplier, expected, secret_dice()), expected
    if found.summed is not None:
        return found.summed.total / found.summed.members, float(found.summed.members)
    return None
