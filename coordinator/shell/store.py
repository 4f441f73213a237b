"""The coordinator's database: devices, runs, rounds, desired states. One SQLite file, shared by its processes."""

import sqlite3
import time
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator import rounds
from coordinator.errors import RunInterrupted, UnknownDevice
from coordinator.rounds import Round
from coordinator.shell.database import prepare, transaction
from firmware_configs.messages import Desired


class Device(Struct, frozen=True, kw_only=True):
    """An enrolled device."""

    name: str
    node: int
    """Flower's node id."""
    public_key: str
    """As OpenSSH writes it."""
    enrolled_ms: int
    revoked: bool


class Run(Struct, frozen=True, kw_only=True):
    """One `edge-coordinator train`."""

    key: str
    bundle: str
    version: str
    result: str
    started_ms: int
    ended: bool
    failure: str


class _Revision(Struct):
    """Of a `Desired`, when nothing else of it is asked for."""

    revision: int


_revision = msgspec.msgpack.Decoder(_Revision)
_DEVICE = "SELECT name, node, public_key, enrolled_ms, revoked FROM device"
NAMED_MAX = 20
"""Devices that an error names."""


def _device(row: tuple[str, int, str, int, int]) -> Device:
    name, node, key, enrolled_ms, revoked = row
    return Device(name=name, node=node % 2**64, public_key=key, enrolled_ms=enrolled_ms, revoked=bool(revoked))


class Store:
    """A home's database. Each call is one transaction."""

    def __init__(self, home: Path, session: int = 0) -> None:
        """Args:
        home: the coordinator's.
        session: of the server app that writes rounds; what an overtaken session writes is refused. 0: of nobody.
        """
        prepare(home)
        self.home = home
        self._session = session

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """What is done on the connection is committed together at the end, or not at all."""
        return transaction(self.home)

    def enrol(self, name: str, node: int, public_key: str) -> None:
        """Add a device, or give it another node."""
        with self.transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO device (name, node, public_key, enrolled_ms) VALUES (?, ?, ?, ?)",
                (name, _signed(node), public_key, int(time.time() * 1_000)),
            )

    def revoke(self, name: str) -> Device:
        """Mark a device as revoked.

        Raises:
            UnknownDevice: there is none of this name.
        """
        device = self.device(name)
        with self.transaction() as database:
            database.execute("UPDATE device SET revoked = 1 WHERE name = ?", (name,))
        return device

    def devices(self, *, revoked: bool = False) -> list[Device]:
        """The enrolled devices by name."""
        with self.transaction() as database:
            rows = database.execute(f"{_DEVICE} ORDER BY name").fetchall()
        found = [_device(row) for row in rows]
        return [device for device in found if revoked or not device.revoked]

    def find(self, name: str) -> Device | None:
        """One device, revoked or not; None: there is none of this name."""
        with self.transaction() as database:
            row = database.execute(f"{_DEVICE} WHERE name = ?", (name,)).fetchone()
        return _device(row) if row else None

    def device(self, name: str) -> Device:
        """One device.

        Raises:
            UnknownDevice: there is none of this name.
        """
        found = self.find(name)
        if found is None:
            names = [device.name for device in self.devices()]
            known = ", ".join(names[:NAMED_MAX]) + (", …" if len(names) > NAMED_MAX else "")
            raise UnknownDevice(f"no device `{name}` is enrolled", hint=f"enrolled: {known or 'none yet'}")
        return found

    def newest_desired(self, without: str) -> Desired:
        """What is wanted at the highest revision of any enrolled device but one; revision 0: nothing of anybody."""
        ask = "SELECT w.value FROM desired w JOIN device d ON d.name = w.device WHERE NOT d.revoked AND d.name <> ?"
        with self.transaction() as database:
            newest = max(
                database.execute(ask, (without,)), key=lambda row: _revision.decode(row[0]).revision, default=None
            )
        return msgspec.msgpack.decode(newest[0], type=Desired) if newest else Desired(revision=0)

    def end(self, key: str, *, result: str = "", failure: str = "") -> None:
        """A run is over."""
        with self.transaction() as database:
            database.execute(
                "UPDATE run SET ended = 1, result = ?, failure = ? WHERE key = ? AND NOT ended", (result, failure, key)
            )

    def run(self, key: str) -> Run | None:
        """One run."""
        return next((run for run in self.runs() if run.key == key), None)

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        with self.transaction() as database:
            rows = database.execute(
                "SELECT key, bundle, version, result, started_ms, ended, failure FROM run ORDER BY started_ms DESC"
            ).fetchall()
        return [
            Run(key=k, bundle=b, version=v, result=r, started_ms=s, ended=bool(e), failure=f)
            for k, b, v, r, s, e, f in rows
        ]

    def put_round(self, row: Round) -> None:
        """Write a round's newest state; an earlier attempt of the same number stays beside it.

        Raises:
            RunInterrupted: the run has ended, or is in other hands by now; nothing is written.
        """
        with self.transaction() as database:
            database.execute("BEGIN IMMEDIATE")
            if self._session:
                self._refuse_overtaken(database, row.run)
            held = database.execute("SELECT value FROM round WHERE run = ? AND number = ?", (row.run, row.number))
            for (value,) in held.fetchall():
                earlier = msgspec.msgpack.decode(value, type=Round).attempt
                if earlier != row.attempt:
                    database.execute(
                        "INSERT OR REPLACE INTO attempt (run, number, attempt, value) VALUES (?, ?, ?, ?)",
                        (row.run, row.number, earlier, value),
                    )
            database.execute(
                "INSERT OR REPLACE INTO round (run, number, value) VALUES (?, ?, ?)",
                (row.run, row.number, msgspec.msgpack.encode(row)),
            )

    def _refuse_overtaken(self, database: sqlite3.Connection, run: str) -> None:
        found = database.execute(
            "SELECT session, ended FROM run_plan JOIN run ON run.key = run_plan.run WHERE run_plan.run = ?", (run,)
        ).fetchone()
        if found != (self._session, 0):
            raise RunInterrupted(f"run {run} has ended, or goes on elsewhere", hint="nothing to do")

    def rounds(self, run: str) -> list[Round]:
        """A run's rounds in order, each as its newest attempt."""
        with self.transaction() as database:
            rows = database.execute("SELECT value FROM round WHERE run = ? ORDER BY number", (run,)).fetchall()
        return [msgspec.msgpack.decode(value, type=Round) for (value,) in rows]

    def attempts(self, run: str) -> list[Round]:
        """All attempts of all rounds of a run, in order."""
        with self.transaction() as database:
            rows = database.execute("SELECT value FROM attempt WHERE run = ?", (run,)).fetchall()
        earlier = [msgspec.msgpack.decode(value, type=Round) for (value,) in rows]
        return sorted([*earlier, *self.rounds(run)], key=lambda row: (row.number, row.attempt))

    def add_late(self, run: str, number: int, count: int, names: list[str]) -> None:
        """So many more replies came after a round had closed, in whatever state it is by now."""
        with self.transaction() as database:
            database.execute("BEGIN IMMEDIATE")
            held = database.execute("SELECT value FROM round WHERE run = ? AND number = ?", (run, number)).fetchone()
            if held is not None:
                row = msgspec.msgpack.decode(held[0], type=Round)
                told = tuple(sorted({*row.late_devices, *names}))
                row = msgspec.structs.replace(row, late=row.late + count, late_devices=told)
                database.execute(
                    "UPDATE round SET value = ? WHERE run = ? AND number = ?",
                    (msgspec.msgpack.encode(row), run, number),
                )

    def publish_rounds(self, run: str, result: str) -> None:
        """The run's rounds are part of a published version: all of them and the run together."""
        with self.transaction() as database:
            database.execute("BEGIN IMMEDIATE")
            held = database.execute("SELECT number, value FROM round WHERE run = ?", (run,)).fetchall()
            for number, value in held:
                row = msgspec.msgpack.decode(value, type=Round)
                if row.state == "accounted":
                    database.execute(
                        "UPDATE round SET value = ? WHERE run = ? AND number = ?",
                        (msgspec.msgpack.encode(rounds.advance(row, "published")), run, number),
                    )
            database.execute("UPDATE run SET result = ?, failure = '' WHERE key = ?", (result, run))

    def desired(self, device: str) -> Desired:
        """What was last wanted of a device."""
        with self.transaction() as database:
            row = database.execute("SELECT value FROM desired WHERE device = ?", (device,)).fetchone()
        return msgspec.msgpack.decode(row[0], type=Desired) if row else Desired(revision=0)

    def put_desired(self, device: str, desired: Desired) -> None:
        """Remember what is wanted of a device."""
        with self.transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO desired (device, value) VALUES (?, ?)",
                (device, msgspec.msgpack.encode(desired)),
            )


def _signed(node: int) -> int:
    """SQLite integers are signed; Flower's node ids are not."""
    return node - 2**64 if node >= 2**63 else node
