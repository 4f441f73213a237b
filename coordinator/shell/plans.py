"""What a round's message asks of a device."""

from typing import Any

from coordinator import clipping
from coordinator.rounds import Round
from coordinator.shell.job import Job
from coordinator.shell.private_run import stated_of
from firmware_configs.stated import pack
from models.bundle import Bundle


def plan_of(job: Job, row: Round, bundle: Bundle) -> dict[str, Any]:
    """What the round asks of a device: `edge_agent.learn.plan.Plan` as a message carries it."""
    return {
        "bundle": bundle.spec.name,
        "version": bundle.spec.version,
        "names": [parameter.name for parameter in bundle.spec.of_share("shared")],
        "round": row.number,
        "rounds": job.rounds,
        "epochs": job.epochs,
        "lr": job.lr,
        "batch": job.batch,
        "negatives": job.negatives,
        "clip_norm": job.clip_norm,
        "prox_mu": job.prox_mu,
        "seed": job.seed,
        "count_weight": _count_weight(job),
        "top_k": job.top_k,
        "random_k": job.random_k,
        "privacy": pack(stated_of(job, row.number, bundle.spec.name)),
    }


def _count_weight(job: Job) -> float:
    own = job.private
    if own is None or own.adaptive is None:
        return 0.0
    return clipping.count_weight(job.clip_norm, own.noise_multiplier, own.adaptive)
