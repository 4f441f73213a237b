"""What a round's message asks of a device."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator import clipping
from coordinator.rounds import Round
from coordinator.shell.checkpoint import Checkpoint
from coordinator.shell.job import Job
from coordinator.shell.private_run import stated_of
from coordinator.strategies.clusters import models_of
from coordinator.strategies.layers import at
from coordinator.strategies.scaffold import control_of
from firmware_configs.stated import pack
from models import flat
from models.bundle import Bundle

F32 = NDArray[np.float32]


def plan_of(job: Job, row: Round, bundle: Bundle) -> dict[str, Any]:
    """What the round asks of a device: `edge_agent.learn.plan.Plan` as a message carries it."""
    unlearn = {"unlearn": True} if job.unlearn else {}
    return {
        **unlearn,
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
        **_asked_beside(job, row),
    }


def _asked_beside(job: Job, row: Round) -> dict[str, Any]:
    """What the strategy asks of a device beside plain training; a device of before knows none of it."""
    strategy = job.strategy
    layers = at(job.layers, row.number)
    asked: dict[str, Any] = {}
    if job.demands.classes:
        asked["classes"] = list(job.demands.classes)
    if job.demands.examples_min > 1:
        asked["examples_min"] = job.demands.examples_min
    if layers:
        asked |= {"layers": [one.pattern for one in layers], "factors": [one.factor for one in layers]}
    match strategy.preset.device:
        case "alternate":
            asked["personal_epochs"] = int(strategy["personal_epochs"])
        case "ditto":
            asked |= {"ditto": True, "pull": strategy["pull"]}
        case "scaffold":
            asked |= {"control": True, "steps": int(strategy["steps"])}
        case "ifca":
            asked["models"] = int(strategy["clusters"])
    return asked


def vectors_of(job: Job, bundle: Bundle, now: Checkpoint) -> dict[str, F32]:
    """What the round's message holds beside the plan: vectors by name, the shared parameters end to end."""
    parameters = bundle.spec.of_share("shared")
    strategy = job.strategy
    if strategy.preset.device == "ifca":
        models = models_of(now.state, now.shared, int(strategy["clusters"]), strategy["spread"], job.seed)
        return {"shared": np.concatenate([flat.join(parameters, one) for one in models])}
    vectors = {"shared": flat.join(parameters, now.shared)}
    if strategy.preset.device == "scaffold":
        vectors["control"] = flat.join(parameters, control_of(now.state, now.shared))
    return vectors


def _count_weight(job: Job) -> float:
    own = job.private
    if own is None or own.adaptive is None:
        return 0.0
    return clipping.count_weight(job.clip_norm, own.noise_multiplier, own.adaptive)
