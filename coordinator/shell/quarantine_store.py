"""Who stands how, who is quarantined, and the audit of every such change: rows of a coordinator's database.

Standings hold what did not fit of a node's reports (`coordinator.quarantine`), never an update. The audit is only ever
added to.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.errors import UnknownDevice
from coordinator.quarantine import Evidence, Standing, in_words
from coordinator.shell.database import prepare, transaction

DAY_MS = 86_400_000
DAYS, DAYS_MAX = 7, 56
BY_ITSELF = "coordinator"
"""Who made an entry that nobody made."""


class Entry(Struct, frozen=True, kw_only=True):
    """A device that is not asked."""

    device: str
    reason: str
    by: str
    """`coordinator`, or `operator`."""
    since_ms: int
    until_ms: int
    """Unix ms after which it is asked again."""
    times: int = 1
    """How often it was quarantined; each automatic entry lasts twice as long as the one before."""
    evidence: tuple[Evidence, ...] = ()


class Change(Struct, frozen=True, kw_only=True):
    """One row of the audit."""

    device: str
    what: str
    """`quarantined`, `released` or `expired`."""
    by: str
    reason: str
    time_ms: int
    evidence: tuple[Evidence, ...] = ()


class QuarantineStore:
    """The tables in a coordinator's home. Each call is one transaction."""

    def __init__(self, home: Path, clock_ms: Callable[[], int] = lambda: int(time.time() * 1_000)) -> None:
        prepare(home)
        self._home, self._now_ms = home, clock_ms

    def standings(self) -> dict[str, Standing]:
        """Device → its standing."""
        with transaction(self._home) as database:
            rows = database.execute("SELECT device, value FROM standing").fetchall()
        return {device: msgspec.msgpack.decode(value, type=Standing) for device, value in rows}

    def put(self, standings: Mapping[str, Standing]) -> list[Entry]:
        """Write standings down, and quarantine whoever has come too far; returns the new entries."""
        made: list[Entry] = []
        with transaction(self._home) as database:
            held = _entries(database)
            for device, standing in standings.items():
                entry = held.get(device)
                if standing.quarantined and not (entry is not None and entry.until_ms > self._now_ms()):
                    made.append(self._enter(database, device, BY_ITSELF, standing, entry))
                    standing = msgspec.structs.replace(standing, score=0.0, evidence=())  # noqa: PLW2901
                database.execute(
                    "INSERT OR REPLACE INTO standing (device, value) VALUES (?, ?)",
                    (device, msgspec.msgpack.encode(standing)),
                )
        return made

    def _enter(self, database: sqlite3.Connection, device: str, by: str, own: Standing, old: Entry | None) -> Entry:
        times = old.times + 1 if old is not None else 1
        now = self._now_ms()
        entry = Entry(
            device=device,
            reason=f"its reports do not fit: {in_words(own.evidence)}",
            by=by,
            since_ms=now,
            until_ms=now + min(DAYS * 2 ** (times - 1), DAYS_MAX) * DAY_MS,
            times=times,
            evidence=own.evidence,
        )
        _put(database, entry)
        _audit(database, device, "quarantined", by, entry.reason, now, own.evidence)
        return entry

    def quarantine(self, device: str, reason: str, days: float) -> Entry:
        """Enter a device by hand; a device that is in already stays in, for as long as this says."""
        now = self._now_ms()
        with transaction(self._home) as database:
            old = _entries(database).get(device)
            entry = Entry(
                device=device,
                reason=reason,
                by="operator",
                since_ms=now,
                until_ms=now + int(days * DAY_MS),
                times=old.times if old is not None else 1,
                evidence=old.evidence if old is not None else (),
            )
            _put(database, entry)
            _audit(database, device, "quarantined", "operator", reason, now, ())
        return entry

    def release(self, device: str, reason: str) -> Entry:
        """Let a device out before its time; its standing starts again.

        Raises:
            UnknownDevice: it is not in quarantine.
        """
        now = self._now_ms()
        with transaction(self._home) as database:
            entry = _entries(database).get(device)
            if entry is None or entry.until_ms <= now:
                raise UnknownDevice(f"`{device}` is not in quarantine", hint="see: edge-coordinator nodes ls")
            _put(database, msgspec.structs.replace(entry, until_ms=now))
            database.execute("DELETE FROM standing WHERE device = ?", (device,))
            _audit(database, device, "released", "operator", reason, now, entry.evidence)
        return entry

    def entries(self) -> dict[str, Entry]:
        """Device → its entry, of those that are in quarantine now. What has run out is told to the audit once."""
        now = self._now_ms()
        with transaction(self._home) as database:
            held = _entries(database)
            for device, entry in held.items():
                if entry.until_ms <= now and _newest(database, device).what == "quarantined":
                    _audit(database, device, "expired", BY_ITSELF, "its time was over", entry.until_ms, ())
        return {device: entry for device, entry in held.items() if entry.until_ms > now}

    def audit(self, device: str = "") -> list[Change]:
        """Every change, oldest first; of one device, or of all."""
        with transaction(self._home) as database:
            rows = database.execute(
                "SELECT value FROM quarantine_audit WHERE ? IN ('', device) ORDER BY number", (device,)
            ).fetchall()
        return [msgspec.msgpack.decode(value, type=Change) for (value,) in rows]


def _entries(database: sqlite3.Connection) -> dict[str, Entry]:
    rows = database.execute("SELECT device, value FROM quarantine ORDER BY device").fetchall()
    return {device: msgspec.msgpack.decode(value, type=Entry) for device, value in rows}


def _newest(database: sqlite3.Connection, device: str) -> Change:
    (value,) = database.execute(
        "SELECT value FROM quarantine_audit WHERE device = ? ORDER BY number DESC LIMIT 1", (device,)
    ).fetchone()
    return msgspec.msgpack.decode(value, type=Change)


def _put(database: sqlite3.Connection, entry: Entry) -> None:
    database.execute(
        "INSERT OR REPLACE INTO quarantine (device, value) VALUES (?, ?)", (entry.device, msgspec.msgpack.encode(entry))
    )


def _audit(
    database: sqlite3.Connection,
    device: str,
    what: str,
    by: str,
    reason: str,
    time_ms: int,
    evidence: tuple[Evidence, ...],
) -> None:
    change = Change(device=device, what=what, by=by, reason=reason, time_ms=time_ms, evidence=evidence)
    database.execute(
        "INSERT INTO quarantine_audit (device, value) VALUES (?, ?)", (device, msgspec.msgpack.encode(change))
    )
