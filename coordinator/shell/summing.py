"""A round in which bandits' sums are added up over devices: plainly, in secret, and with noise where it is private.

What the round costs is entered before there is a result (`coordinator.shell.private_run`).
"""

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid
from numpy.typing import NDArray

from coordinator.errors import AggregationFailed
from coordinator.shell import counting
from coordinator.shell.job import Bandit, Job
from coordinator.shell.private_run import enter, enter_noised, stated_of
from coordinator.shell.round import secret_dice
from coordinator.shell.secret_grid import sum_in_secret
from coordinator.shell.store import Store
from firmware_configs.stated import pack
from models.bandit_sums import clipped, form_of
from models.bundle import Bundle, open_bundle

F64 = NDArray[np.float64]


def add_up(grid: Grid, job: Job, own: Bandit, store: Store) -> dict[str, NDArray[Any]]:
    """Ask everyone who is online, and add up.

    Returns:
        `total`, float32 (size of the form,), with its noise if the run is private; `devices`, int64 (1,).
    Raises:
        TooFewReports: of fewer devices than must be added up; nothing is told then.
        PrivacyRefused: the budget does not allow it.
    """
    bundle = open_bundle(Path(job.bundle))
    size = form_of(own.kind, bundle.spec, len(bundle.catalogue())).size
    began = time.monotonic()
    row, asked = counting.opened(grid, job, store)
    plan = _plan(job, own, bundle)
    if job.secret is None:
        told = counting.ask(grid, job, asked, plan, began, lambda reply: _read(reply, size, job, own))
        row = msgspec.structs.replace(row, bytes_up=told.bytes_up)
        counting.close(store, job, row, len(told.tables), told.refusals, began)
        total, devices = np.asarray(sum(told.tables), np.float64), len(told.tables)
    else:
        summed = sum_in_secret(
            grid,
            asked,
            f"{job.key}:1:1",
            {},
            plan,
            job.secret,
            size=size,
            minimum=job.minimum_reports,
            deadline_s=job.deadline_s,
            seed=int.from_bytes(job.key.encode()) % 2**32,
            closing=lambda _count: None,
            unmasking=lambda: enter_noised(job, 1, bundle.spec.name),
        )
        row = msgspec.structs.replace(row, bytes_up=summed.bytes_up, bytes_down=summed.bytes_down)
        counting.close(store, job, row, summed.members, summed.refusals, began)
        total, devices = summed.total, summed.members
    return {"total": _noised(job, bundle, total).astype(np.float32), "devices": np.array([devices], np.int64)}


def _plan(job: Job, own: Bandit, bundle: Bundle) -> dict[str, Any]:
    """What a device is asked: `edge_agent.shell.bandit_sums.Summing` as a message carries it."""
    return {
        "statistic": job.counts,
        "bundle": bundle.spec.name,
        "version": bundle.spec.version,
        "placement": own.placement,
        "kind": own.kind,
        "minimum": job.minimum_reports,
        "clip_norm": job.clip_norm if own.clips else 0.0,
        "mean": list(own.mean),
        "deviation": list(own.deviation),
        "privacy": pack(stated_of(job, 1, bundle.spec.name)),
    }


def _read(reply: Message, size: int, job: Job, own: Bandit) -> F64:
    sent = counting.array_of(reply)
    if sent.dtype != np.float32 or sent.shape != (size,) or not np.isfinite(np.asarray(sent, np.float64)).all():
        raise AggregationFailed(
            f"sums are {sent.dtype} of shape {sent.shape}, or not finite; expected float32 of ({size},)",
            hint="update the device's agent",
        )
    vector = np.asarray(sent, np.float64)
    return clipped(vector, job.clip_norm) if own.clips else vector


def _noised(job: Job, bundle: Bundle, total: F64) -> F64:
    """With the coordinator's noise, whose cost is entered first; where the devices added it, that was before."""
    private = job.private
    if private is None or private.noise_by == "devices":
        return total
    enter(job, private, 1, bundle.spec.name)
    return total + secret_dice().normal(0.0, private.noise_multiplier * job.clip_norm, total.shape)
