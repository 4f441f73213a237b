"""A server app ends when nobody needs it: its SuperLink is gone, or its run has ended or is in other hands.

Flower's processes watch each other by process id, which stays while nobody reaps the dead, and its grid tries a
SuperLink that is gone again and again. To end between any two steps is what those steps are made for.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.errors import UnknownRun
from coordinator.shell.job import Job
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Store

EVERY_S = 1.0
TRIES = 3


@contextmanager
def watched(job: Job) -> Iterator[None]:
    """Watch from a thread while the body runs; the process ends without a word when it is not needed.

    Not after the body: Flower must be told how the app ended, or its devices would wait for it.
    """
    done = threading.Event()
    threading.Thread(target=_watch, args=(job, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch(job: Job, done: threading.Event) -> None:
    plans, store, failed = RunStore(Path(job.home)), Store(Path(job.home)), 0
    while not done.wait(EVERY_S):
        failed = 0 if answers(job.control) else failed + 1
        if failed >= TRIES or (_is_overtaken(plans, store, job) and not done.is_set()):
            os._exit(1)


def _is_overtaken(plans: RunStore, store: Store, job: Job) -> bool:
    run = store.run(job.key)
    try:
        return run is None or run.ended or plans.plan(job.key).session != job.session
    except UnknownRun:
        return True


def answers(control: str) -> bool:
    """Whether a SuperLink takes connections at `host:port`; True where none is named."""
    host, _, port = control.rpartition(":")
    if not host:
        return True
    try:
        socket.create_connection((host, int(port)), 2.0).close()
    except OSError:
        return False
    return True
