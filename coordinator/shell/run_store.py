"""What it takes to go on with a run that was cut off: its request, its job, who drives it, what was published."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.errors import RunUnfinished, UnknownRun
from coordinator.shell.job import Job
from coordinator.shell.request import Request
from coordinator.shell.store import Store


class RunPlan(Struct, frozen=True, kw_only=True):
    """One run's plan, and how far its sessions came."""

    run: str
    request: Request
    job: Job
    """As of the start: noise and population do not change when the run is gone on with."""
    session: int
    started: int
    flower: str
    note: str
    version: str
    sha256: str
    given_up: bool


def unfinished(key: str, bundle: str) -> RunUnfinished:
    """The error of a run that another one stands in the way of."""
    return RunUnfinished(
        f"run {key} of {bundle} is unfinished",
        hint=f"edge-coordinator rounds resume {key}, or rounds abandon {key} --reason WHY",
    )


class RunStore:
    """The plans in a coordinator's home. Each call is one transaction."""

    def __init__(self, home: Path) -> None:
        self._open: Callable[[], AbstractContextManager[sqlite3.Connection]] = Store(home).transaction

    def begin(self, key: str, bundle: str, version: str, request: Request, job: Job, started_ms: int) -> None:
        """A run starts: the run and its plan are there together.

        Raises:
            RunUnfinished: another run of the bundle has not ended.
        """
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            other = database.execute("SELECT key FROM run WHERE bundle = ? AND NOT ended", (bundle,)).fetchone()
            if other is not None:
                raise unfinished(other[0], bundle)
            database.execute(
                "INSERT INTO run (key, bundle, version, started_ms) VALUES (?, ?, ?, ?)",
                (key, bundle, version, started_ms),
            )
            database.execute(
                "INSERT INTO run_plan (run, request, job) VALUES (?, ?, ?)",
                (key, msgspec.msgpack.encode(request), msgspec.msgpack.encode(job)),
            )

    def plan(self, key: str) -> RunPlan:
        """One run's plan.

        Raises:
            UnknownRun: there is none of this key, or it is of a version that kept none.
        """
        with self._open() as database:
            row = database.execute(
                "SELECT request, job, session, started, flower, note, version, sha256, given_up FROM run_plan"
                " WHERE run = ?",
                (key,),
            ).fetchone()
        if row is None:
            raise UnknownRun(f"no run `{key}` that can be gone on with", hint="edge-coordinator rounds ls")
        request, job, session, started, flower, note, version, sha256, given_up = row
        return RunPlan(
            run=key,
            request=msgspec.msgpack.decode(request, type=Request),
            job=msgspec.msgpack.decode(job, type=Job),
            session=session,
            started=started,
            flower=flower,
            note=note,
            version=version,
            sha256=sha256,
            given_up=bool(given_up),
        )

    def next_session(self, key: str) -> int:
        """The number of a new session; from now on nothing that an older one writes is taken."""
        with self._open() as database:
            database.execute("UPDATE run_plan SET session = session + 1, flower = '', note = '' WHERE run = ?", (key,))
            database.execute("UPDATE run SET ended = 0, failure = '' WHERE key = ?", (key,))
            (session,) = database.execute("SELECT session FROM run_plan WHERE run = ?", (key,)).fetchone()
        return int(session)

    def began(self, key: str, session: int, flower: str) -> bool:
        """The session's server app has begun; False when a newer session, or the run's end, has overtaken it."""
        with self._open() as database:
            done = database.execute(
                "UPDATE run_plan SET started = ?, flower = ? WHERE run = ? AND session = ?"
                " AND NOT (SELECT ended FROM run WHERE key = ?)",
                (session, flower, key, session, key),
            )
            return done.rowcount == 1

    def set_flower(self, key: str, session: int, flower: str) -> None:
        """Remember the session's run at Flower."""
        with self._open() as database:
            database.execute("UPDATE run_plan SET flower = ? WHERE run = ? AND session = ?", (flower, key, session))

    def set_note(self, key: str, session: int, note: str) -> None:
        """Remember why the session ended early."""
        with self._open() as database:
            database.execute("UPDATE run_plan SET note = ? WHERE run = ? AND session = ?", (note, key, session))

    def draft(self, key: str, version: str, sha256: str) -> None:
        """The result is given a version; the registry is asked afterwards."""
        with self._open() as database:
            database.execute("UPDATE run_plan SET version = ?, sha256 = ? WHERE run = ?", (version, sha256, key))

    def give_up(self, key: str, reason: str) -> None:
        """A person gives the run up."""
        with self._open() as database:
            database.execute("UPDATE run_plan SET given_up = 1, flower = '' WHERE run = ?", (key,))
            database.execute("UPDATE run SET ended = 1, failure = ? WHERE key = ?", (reason, key))
