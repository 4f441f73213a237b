"""The server app: runs a job's rounds on Flower's grid. The SuperLink starts it in a process of its own."""

import time
from pathlib import Path

import msgspec
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from coordinator import rounds
from coordinator.errors import RoundError, RunInterrupted
from coordinator.shell import grid as nodes
from coordinator.shell import watch
from coordinator.shell.buffered import as_they_come
from coordinator.shell.checkpoint import F32, write_durably
from coordinator.shell.counting import count
from coordinator.shell.grouped import sum_declared
from coordinator.shell.hold import APP_LOCK, hold
from coordinator.shell.job import Job
from coordinator.shell.late import Late
from coordinator.shell.pacing import come_s
from coordinator.shell.run_store import RunStore
from coordinator.shell.steps import Steps
from coordinator.shell.store import Store
from coordinator.shell.summing import add_up
from models import arrays as tensors

BEFORE_S = 30.0
"""For an overtaken server app to end."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the job that the run's configuration names, from where it stands."""
    path = Path(str(context.run_config["job"]))
    job = msgspec.json.decode(path.read_bytes(), type=Job)
    if job.counts:
        _count(grid, job, path)
        return
    plans = RunStore(Path(job.home))
    store = Store(Path(job.home), job.session)
    with hold(path.with_name(APP_LOCK), BEFORE_S):
        if not plans.began(job.key, job.session, str(context.run_id)):
            return  # the run has ended, or a newer session has it
        nodes.hurry()
        late = Late(grid, store, job.key, name=job.private is None)
        try:
            with watch.watched(job):
                shared = _run(grid, job, store, late)
            # The command that started the run waits for this file.
            write_durably(path.with_name("result.npz"), tensors.pack(shared))
        except RunInterrupted:
            return  # the run is in other hands
        except RoundError as error:
            store.end(job.key, failure=f"{error.what}; {error.hint}")
        except Exception as error:
            # The command that waits must hear of it; the traceback goes to the SuperLink's log.
            plans.set_note(job.key, job.session, f"the server app failed: {type(error).__name__}: {error}")
            raise
        late.rest()


def _count(grid: Grid, job: Job, path: Path) -> None:
    """A run of counts: one round, which is asked anew rather than gone on with."""
    store = Store(Path(job.home))
    nodes.hurry()
    try:
        declared = next((one for one in (job.shape, job.drift, job.business) if one is not None), None)
        if declared is not None and job.secret is not None:
            found = sum_declared(grid, job, job.secret, store, declared)
        elif job.bandit is not None:
            found = add_up(grid, job, job.bandit, store)
        else:
            found = count(grid, job, store)
        write_durably(path.with_name("result.npz"), tensors.pack(found))
    except RoundError as error:
        store.end(job.key, failure=f"{error.what}; {error.hint}")
    except Exception as error:
        # The command that waits must hear of it; the traceback goes to the SuperLink's log.
        store.end(job.key, failure=f"the server app failed: {type(error).__name__}: {error}")
        raise


def _run(grid: Grid, job: Job, store: Store, late: Late) -> dict[str, F32]:
    """Do the rounds that are not done yet; returns the shared parameters after the last."""
    steps = Steps(grid, job, store, late, not_before=time.monotonic() + come_s(job))
    known = {row.number: row for row in store.rounds(job.key)}
    done = rounds.done_of(list(known.values()))
    # A later round starts from the newest result, and only that one's file is kept.
    now = steps.result(done[-1]) if done else steps.start()
    if job.asynchronous is not None:
        return as_they_come(grid, job, job.asynchronous, store, steps, now).shared
    for number in range(1, job.rounds + 1):
        if number not in {row.number for row in done}:
            now = steps.through(number, known.get(number), now)
    if not rounds.done_of(store.rounds(job.key)):
        raise RoundError("no round of the run came to a result", hint="see `edge-coordinator rounds show`")
    return now.shared
