"""What a round's message asks of a device."""

from typing import Any

from coordinator.rounds import Round
from coordinator.shell.job import Job
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
    }
