"""The server app: runs a job's rounds on Flower's grid. The SuperLink starts it in a process of its own."""

import time
from pathlib import Path

import msgspec
import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import aggregate, cohort, rounds
from coordinator.errors import RoundError, TooFewReports
from coordinator.rounds import Round
from coordinator.shell import grid as nodes
from coordinator.shell.grid import Replies
from coordinator.shell.store import Store
from models import arrays as tensors
from models import flat
from models.bundle import Bundle, open_bundle

F32 = NDArray[np.float32]

app = ServerApp()


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `edge-coordinator train` asks of a run."""

    home: str
    key: str
    bundle: str
    """The parent's file."""
    rounds: int
    minimum_reports: int
    wanted: int = 0
    """Reports that are enough to close a round; 0: one from everyone who is online."""
    over_selection: float = 0.3
    """How many more than `wanted` are asked, as a share of it."""
    join_s: float = 30.0
    """How long to wait for enough nodes before a round."""
    deadline_s: float = 60.0
    """How long a round waits for reports."""
    epochs: int
    lr: float
    batch: int
    negatives: int
    clip_norm: float
    prox_mu: float = 0.0
    seed: int = 0


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the job that the run's configuration names."""
    path = Path(str(context.run_config["job"]))
    job = msgspec.json.decode(path.read_bytes(), type=Job)
    store = Store(Path(job.home))
    nodes.hurry()
    try:
        shared = _run(grid, job, store)
    except RoundError as error:
        store.end(job.key, failure=f"{error.what}; {error.hint}")
        return
    except Exception as error:
        # The command that waits must hear of it; the traceback goes to the SuperLink's log.
        store.end(job.key, failure=f"the server app failed: {type(error).__name__}: {error}")
        raise
    # The command that started the run signs and publishes; it waits for this file.
    draft = path.with_name("result.part")
    draft.write_bytes(tensors.pack(shared))
    draft.replace(path.with_name("result.npz"))


def _run(grid: Grid, job: Job, store: Store) -> dict[str, F32]:
    bundle = open_bundle(Path(job.bundle))
    weights = bundle.weights()
    shared = {p.name: weights[p.name] for p in bundle.spec.of_share("shared")}
    for number in range(1, job.rounds + 1):
        row = _put(store, Round(run=job.key, number=number))
        started = time.monotonic()
        try:
            row, replies = _ask(grid, job, store, row, bundle, shared)
            shared = aggregate.average(shared, replies.reports)
        except RoundError as error:
            newest = store.rounds(job.key)[-1]
            _put(store, rounds.abandon(newest, error.what))
            raise
        before, after = aggregate.weighted(replies.reports)
        row = _put(
            store,
            msgspec.structs.replace(
                rounds.advance(row, "aggregated"),
                loss_before=before,
                loss_after=after,
                seconds=round(time.monotonic() - started, 3),
            ),
        )
        _put(store, rounds.advance(row, "accounted"))
    return shared


def _ask(
    grid: Grid, job: Job, store: Store, row: Round, bundle: Bundle, shared: dict[str, F32]
) -> tuple[Round, Replies]:
    """Choose the nodes, ask them, and close the round.

    Raises:
        TooFewReports: too few nodes, or too few of them gave a usable report.
    """
    needed = job.minimum_reports
    there = nodes.online(grid, max(needed, job.wanted), job.join_s)
    asked = cohort.select(there, job.wanted, job.over_selection, np.random.default_rng([job.seed, row.number]))
    row = _put(store, msgspec.structs.replace(rounds.advance(row, "open"), asked=len(asked)))
    if len(asked) < needed:
        raise TooFewReports(
            f"{len(asked)} nodes are online, {needed} reports are needed",
            hint="are the agents up, do they have examples and consent? see `reported.learning` of each device",
        )
    parameters = bundle.spec.of_share("shared")
    plan = {
        "bundle": bundle.spec.name,
        "version": bundle.spec.version,
        "names": [parameter.name for parameter in parameters],
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
    vector = flat.join(parameters, shared)
    replies = nodes.ask(grid, asked, vector, plan, parameters, wanted=job.wanted, deadline_s=job.deadline_s)
    row = _put(
        store,
        msgspec.structs.replace(
            rounds.advance(row, "closing"),
            reports=len(replies.reports),
            refused=len(replies.refusals),
            bytes_up=replies.bytes_up,
            bytes_down=replies.bytes_down,
        ),
    )
    if len(replies.reports) < needed:
        said = f"; said no: {'; '.join(sorted(set(replies.refusals))[:3])}" if replies.refusals else ""
        raise TooFewReports(
            f"{len(replies.reports)} usable reports of {len(asked)}, {needed} are needed{said}",
            hint="raise --deadline-s, or see the agents' logs",
        )
    return row, replies


def _put(store: Store, row: Round) -> Round:
    store.put_round(row)
    return row
