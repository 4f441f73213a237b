"""A round of what a profile declares as statistics, under a secret sum: the server sees the sum, with its noise, alone.

Sums by group (`edge-coordinator bias`), tenths of drift detectors (`edge-coordinator drift`), or sums of metrics
(`edge-coordinator business`).
"""

import math
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from coordinator import rounds
from coordinator.errors import RoundError, TooFewReports
from coordinator.rounds import Round
from coordinator.shell import grid as nodes
from coordinator.shell.job import Job
from coordinator.shell.private_run import enter_noised
from coordinator.shell.secret_grid import Secret, Summed, noise_of, sum_in_secret
from coordinator.shell.store import Store
from coordinator.shell.vetting import allowed
from firmware_configs.business import BusinessShape
from firmware_configs.fleet_drift import DriftShape
from firmware_configs.subgroups import Shape
from models.bundle import open_bundle


def sum_declared(
    grid: Grid, job: Job, secret: Secret, store: Store, shape: Shape | DriftShape | BusinessShape
) -> dict[str, NDArray[Any]]:
    """Ask everyone who is online, and add up.

    Returns:
        `total`, float32 (shape.size,); `devices`, int64 (1,); `deviation`, float32 (1,), of the noise on each number,
        where every device that was asked added its share, and no less.
    Raises:
        TooFewReports, AggregationFailed: nothing is known then.
        PrivacyRefused: the budget is spent; nothing was unmasked.
    """
    spec = open_bundle(Path(job.bundle)).spec
    row = Round(run=job.key, number=1)
    store.put_round(row)
    began = time.monotonic()
    until = began + job.join_s
    asked = allowed(Path(job.home), nodes.online(grid, job.minimum_reports, job.devices, until, not_before=until))
    row = msgspec.structs.replace(rounds.advance(row, "open"), asked=len(asked))
    store.put_round(row)
    closed = row

    def closing(count: int) -> None:
        nonlocal closed
        closed = msgspec.structs.replace(rounds.advance(row, "closing"), reports=count)
        store.put_round(closed)

    plan = {
        "statistic": job.counts,
        "bundle": spec.name,
        "version": spec.version,
        "shape": msgspec.json.encode(shape).decode(),
        "clip_norm": job.clip_norm,
    }
    try:
        if len(asked) < job.minimum_reports:
            raise TooFewReports(
                f"{len(asked)} devices are online, {job.minimum_reports} must be added up", hint="wait for more"
            )
        summed = sum_in_secret(
            grid,
            asked,
            f"{job.key}:1:0",
            {},
            plan,
            secret,
            size=shape.size,
            minimum=job.minimum_reports,
            deadline_s=job.deadline_s,
            seed=int.from_bytes(os.urandom(6)),
            closing=closing,
            unmasking=lambda: enter_noised(job, 1, job.account),
        )
    except RoundError as error:
        store.put_round(rounds.abandon(closed, error.what))
        raise
    _done(store, closed, summed, round(time.monotonic() - began, 3))
    return {
        "total": summed.total.astype(np.float32),
        "devices": np.array([summed.members], np.int64),
        "deviation": np.array([_deviation(secret, job.clip_norm, len(asked), summed.members)], np.float32),
    }


def _deviation(secret: Secret, clip_norm: float, asked: int, members: int) -> float:
    noise = noise_of(secret, max(3, asked))
    if noise is None:
        return 0.0
    return noise.multiplier * clip_norm * math.sqrt(members / noise.least)


def _done(store: Store, row: Round, summed: Summed, seconds: float) -> None:
    row = msgspec.structs.replace(
        row,
        reports=summed.members,
        refused=row.asked - summed.members,
        bytes_up=summed.bytes_up,
        bytes_down=summed.bytes_down,
        seconds=seconds,
    )
    for state in ("aggregated", "accounted"):
        row = rounds.advance(row, state)
        store.put_round(row)
