"""The coordinator's database: devices, runs, rounds, desired states. One SQLite file, shared by its processes."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.errors import UnknownDevice
from coordinator.rounds import Round
from firmware_configs.messages import Desired

SCHEMA = Path(__file__).with_name("schema.sql")


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


class Store:
    """A home's database. Each call is one transaction."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self._path = home / "coordinator.db"
        with self._open() as database:
            database.executescript(SCHEMA.read_text())

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=15)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            with database:
                yield database
        finally:
            database.close()

    def enrol(self, name: str, node: int, public_key: str) -> None:
        """Add a device, or give it another node."""
        with self._open() as database:
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
        with self._open() as database:
            database.execute("UPDATE device SET revoked = 1 WHERE name = ?", (name,))
        return device

    def devices(self, *, revoked: bool = False) -> list[Device]:
        """The enrolled devices by name."""
        with self._open() as database:
            rows = database.execute(
                "SELECT name, node, public_key, enrolled_ms, revoked FROM device ORDER BY name"
            ).fetchall()
        found = [Device(name=n, node=i % 2**64, public_key=k, enrolled_ms=t, revoked=bool(r)) for n, i, k, t, r in rows]
        return [device for device in found if revoked or not device.revoked]

    def device(self, name: str) -> Device:
        """One device.

        Raises:
            UnknownDevice: there is none of this name.
        """
        for device in self.devices(revoked=True):
            if device.name == name:
                return device
        known = ", ".join(d.name for d in self.devices()) or "none yet"
        raise UnknownDevice(f"no device `{name}` is enrolled", hint=f"enrolled: {known}")

    def begin(self, key: str, bundle: str, version: str) -> None:
        """A run starts."""
        with self._open() as database:
            database.execute(
                "INSERT INTO run (key, bundle, version, started_ms) VALUES (?, ?, ?, ?)",
                (key, bundle, version, int(time.time() * 1_000)),
            )

    def end(self, key: str, *, result: str = "", failure: str = "") -> None:
        """A run is over."""
        with self._open() as database:
            database.execute("UPDATE run SET ended = 1, result = ?, failure = ? WHERE key = ?", (result, failure, key))

    def run(self, key: str) -> Run | None:
        """One run."""
        return next((run for run in self.runs() if run.key == key), None)

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        with self._open() as database:
            rows = database.execute(
                "SELECT key, bundle, version, result, started_ms, ended, failure FROM run ORDER BY started_ms DESC"
            ).fetchall()
        return [
            Run(key=k, bundle=b, version=v, result=r, started_ms=s, ended=bool(e), failure=f)
            for k, b, v, r, s, e, f in rows
        ]

    def put_round(self, row: Round) -> None:
        """Write a round's newest state."""
        with self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO round (run, number, value) VALUES (?, ?, ?)",
                (row.run, row.number, msgspec.msgpack.encode(row)),
            )

    def rounds(self, run: str) -> list[Round]:
        """A run's rounds, in order."""
        with self._open() as database:
            rows = database.execute("SELECT value FROM round WHERE run = ? ORDER BY number", (run,)).fetchall()
        return [msgspec.msgpack.decode(value, type=Round) for (value,) in rows]

    def desired(self, device: str) -> Desired:
        """What was last wanted of a device."""
        with self._open() as database:
            row = database.execute("SELECT value FROM desired WHERE device = ?", (device,)).fetchone()
        return msgspec.msgpack.decode(row[0], type=Desired) if row else Desired(revision=0)

    def put_desired(self, device: str, desired: Desired) -> None:
        """Remember what is wanted of a device."""
        with self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO desired (device, value) VALUES (?, ?)",
                (device, msgspec.msgpack.encode(desired)),
            )


def _signed(node: int) -> int:
    """SQLite integers are signed; Flower's node ids are not."""
    return node - 2**64 if node >= 2**63 else node
