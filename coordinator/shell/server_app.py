"""The server app: runs a job's rounds on Flower's grid. The SuperLink starts it in a process of its own."""

import time
from pathlib import Path

import msgspec
import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray

from coordinator import aggregate, rounds
from coordinator.errors import RoundError
from coordinator.rounds import Round
from coordinator.shell import grid as nodes
from coordinator.shell.buffered import as_they_come
from coordinator.shell.checkpoint import Checkpoint
from coordinator.shell.clip_path import as_clipped
from coordinator.shell.combining import combined
from coordinator.shell.job import Job
from coordinator.shell.round import gather, put
from coordinator.shell.store import Store
from models import arrays as tensors
from models.bundle import open_bundle

F32 = NDArray[np.float32]

app = ServerApp()


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
    now = Checkpoint(shared={p.name: weights[p.name] for p in bundle.spec.of_share("shared")})
    if job.asynchronous is not None:
        return as_they_come(grid, job, job.asynchronous, store, bundle, now).shared
    for number in range(1, job.rounds + 1):
        row = put(store, Round(run=job.key, number=number))
        started = time.monotonic()
        try:
            asked = as_clipped(job, now.state)
            found = gather(grid, asked, store, row, bundle, now)
            row = found.row
            now = combined(asked, number, now, found)
        except RoundError as error:
            newest = store.rounds(job.key)[-1]
            put(store, rounds.abandon(newest, error.what))
            raise
        # What the devices' losses say is in no account of privacy; in a secret sum nobody says it.
        before, after = (0.0, 0.0) if job.private else aggregate.weighted(found.replies.reports)
        row = put(
            store,
            msgspec.structs.replace(
                rounds.advance(row, "aggregated"),
                loss_before=before,
                loss_after=after,
                seconds=round(time.monotonic() - started, 3),
            ),
        )
        put(store, rounds.advance(row, "accounted"))
    return now.shared
