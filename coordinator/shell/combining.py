"""From a round's reports, or their sum, to the next shared parameters; what it costs is entered before."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coordinator import aggregate, robust
from coordinator.shell.checkpoint import Checkpoint
from coordinator.shell.job import Job
from coordinator.shell.private_run import enter
from coordinator.shell.round import Gathered, secret_dice
from models.bundle import open_bundle

F32 = NDArray[np.float32]


def combined(job: Job, number: int, before: Checkpoint, found: Gathered) -> Checkpoint:
    """Where the run stands after the round: shared parameters, and the strategy's own state for the next round.

    Raises:
        AggregationFailed, PrivacyRefused: see `_moved`.
    """
    return Checkpoint(shared=_moved(job, number, before.shared, found), state=before.state)


def _moved(job: Job, number: int, shared: dict[str, F32], found: Gathered) -> dict[str, F32]:
    """The shared parameters after the round; what it costs in privacy is entered before there is anything to see.

    Raises:
        AggregationFailed: nothing finite, or too few reports for the rule.
        PrivacyRefused: the budget does not allow the round.
    """
    reports = found.replies.reports
    if job.private is not None:
        own = job.private
        enter(job, own, number, open_bundle(Path(job.bundle)).spec.name)
        if found.summed is not None and own.noise_by == "devices":
            # The noise is in it already; who took part is no secret from whoever asked them.
            return aggregate.moved(shared, found.summed.total / found.summed.members)
        if found.summed is not None:
            total = found.summed.total
        else:
            total = aggregate.clipped_sum(aggregate.rows(shared, reports), job.clip_norm)
        expected = own.rate * own.devices
        noised = aggregate.noised(total, job.clip_norm, own.noise_multiplier, expected, secret_dice())
        return aggregate.moved(shared, noised)
    if found.summed is not None:
        return aggregate.moved(shared, found.summed.total / found.summed.members)
    if job.rule is not None:
        update = robust.combine(job.rule, aggregate.rows(shared, reports), job.hostile_share).update
        return aggregate.moved(shared, update)
    return aggregate.average(shared, reports)
