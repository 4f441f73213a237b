"""The clipping norms that a run went through: part of its state, so that a run that is resumed goes on from the last.

State `clip_norm`: float64 (rounds + 1,), where the run began first.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from coordinator import clipping
from coordinator.clipping import Adaptive
from coordinator.shell.job import Job, Private
from coordinator.shell.round import Gathered, secret_dice

State = dict[str, NDArray[np.floating[Any]]]
NAME = "clip_norm"


def as_clipped(job: Job, state: Mapping[str, NDArray[np.floating[Any]]]) -> Job:
    """The job with the clipping norm that its next round has."""
    if job.private is None or job.private.adaptive is None or NAME not in state:
        return job
    return msgspec.structs.replace(job, clip_norm=float(state[NAME][-1]))


def after(job: Job, before: Mapping[str, NDArray[np.floating[Any]]], made: State, found: Gathered) -> State:
    """The state with the next round's clipping norm in it.

    Args:
        job: as the round had it (`as_clipped`). What the round costs has been entered.
        before: as the round found it.
        made: as the strategy leaves it.
    """
    own = job.private
    if own is None or own.adaptive is None:
        return made
    path = before.get(NAME, np.array([job.clip_norm]))
    share = _noised_share(job, own, own.adaptive, found)
    return {**made, NAME: np.append(path, clipping.next_norm(job.clip_norm, share, own.adaptive))}


def _noised_share(job: Job, own: Private, adaptive: Adaptive, found: Gathered) -> float:
    """The share of updates within the norm. What is counted is b - ½, which one device moves by ½ (section 2.1)."""
    noise = float(secret_dice().normal(0.0, adaptive.count_noise))
    expected = own.rate * own.devices
    if found.summed is None:
        return (sum(report.within - 0.5 for report in found.replies.reports) + noise) / expected + 0.5
    weight = clipping.count_weight(job.clip_norm, own.noise_multiplier, adaptive)
    count = float(found.summed.total[-1]) / (2.0 * weight)
    if own.noise_by == "devices":
        return count / found.summed.members + 0.5
    return (count + noise) / expected + 0.5


def without_count(job: Job, total: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the updates alone: where the clipping norm is adapted, a secret sum's last number is the count."""
    return total[:-1] if job.private is not None and job.private.adaptive is not None else total
