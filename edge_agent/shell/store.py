"""The device's memory on disk: one transaction a batch; full or read-only disks degrade to memory.

What could not be written waits in `backlog` and is written with the next transaction that works. The run
loop acknowledges nothing of a critical source meanwhile, and stops reading when the backlog is full.
"""

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_agent.errors import StoreError
from edge_agent.shell import database
from edge_agent.shell.writes import OutboxRow, Writes

BACKLOG_BYTES_MAX = 16 * 1024 * 1024
"""Memory for what a full disk refuses; above, the loop reads no more from the broker."""
SWEEP_ROWS = 500
"""Rows deleted at once, so that a sweep never holds up a decision for long."""
SHELVES = frozenset({"decision", "example", "journal"})
EVICTED = ("journal", "decision", "example")
"""In this order rows go when the file has reached its size: the oldest first."""

_PUT = (
    "INSERT INTO state VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET value = excluded.value, expires_ms = excluded.expires_ms"
)
_DROP = "DELETE FROM state WHERE room = ? AND key = ?"
_APPEND = (
    "INSERT OR IGNORE INTO shelf (shelf, id, grp, subject, value, made_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_QUEUE = "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DELIVERED = "DELETE FROM outbox WHERE entry = ?"
_META = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_EXPIRED_STATE = """
DELETE FROM state WHERE (room, key) IN (SELECT room, key FROM state WHERE expires_ms BETWEEN 1 AND ? LIMIT ?)
"""
_EXPIRED_SHELF = """
DELETE FROM shelf WHERE number IN (SELECT number FROM shelf WHERE expires_ms BETWEEN 1 AND ? LIMIT ?)
"""
_ABOVE = """
DELETE FROM shelf WHERE number IN
    (SELECT number FROM shelf WHERE shelf = ? AND grp = ? ORDER BY number DESC LIMIT ? OFFSET ?)
"""
_OLDEST = """
DELETE FROM shelf WHERE number IN (SELECT number FROM shelf WHERE shelf = ? ORDER BY grp, number LIMIT ?)
"""


class Store:
    """Owns the connection; nothing else writes to the file.

    Attributes:
        degraded: why writing does not work at present; empty when it does.
        next_entry: number of the outbox's next entry.
    """

    def __init__(self, path: Path, mib_max: int) -> None:
        """Open or make the database.

        Raises:
            StoreUnavailable, StoreCorrupt, SchemaTooNew
        """
        self.path = path
        self.degraded = ""
        self._pages_max = mib_max * 1024 * 1024 // database.PAGE_BYTES
        self._backlog = Writes()
        self._connection = database.open_writable(path, self._pages_max)
        self._full = False
        (last,) = self._ask("SELECT coalesce(max(entry), 0) FROM outbox")[0]
        self.next_entry = int(last) + 1

    @property
    def overflowing(self) -> bool:
        """Whether the backlog is full: what is read from now on could not be kept anywhere."""
        return self._backlog.size >= BACKLOG_BYTES_MAX

    @property
    def secret(self) -> bytes:
        """The device's own 32 random bytes, made at the first start; they never leave."""
        known = self.meta("secret")
        if known is None:
            known = secrets.token_bytes(32)
            self.commit(Writes(meta={"secret": known}), durable=True)
        return known

    def commit(self, writes: Writes, *, durable: bool) -> bool:
        """Write one transaction.

        Args:
            writes: what to write.
            durable: wait until it is on the medium itself (critical sources), not only in the system's cache.
        Returns:
            Whether `writes` and everything before it is committed; if not, it waits in memory.
        Raises:
            StoreError: the database is damaged.
        """
        if self._backlog:
            self._backlog.absorb(writes)
            writes = self._backlog
        elif not writes:
            return True
        try:
            self._set_full(durable)
            self._transact(writes)
        except sqlite3.Error as error:
            self._fail(error, writes)
            return False
        self._backlog = Writes()
        self.degraded = ""
        return True

    def _transact(self, writes: Writes) -> None:
        run, many = self._connection.execute, self._connection.executemany
        run("BEGIN IMMEDIATE")
        try:
            # What frees pages goes first: on a full file the rest may then fit.
            if writes.delivered:
                many(_DELIVERED, [(entry,) for entry in writes.delivered])
            if writes.state:
                puts = [(*key, *row) for key, row in writes.state.items() if row is not None]
                if len(puts) < len(writes.state):
                    many(_DROP, [key for key, row in writes.state.items() if row is None])
                many(_PUT, puts)
            if writes.shelf:
                many(_APPEND, writes.shelf.values())
            if writes.outbox:
                many(_QUEUE, writes.outbox.values())
            if writes.meta:
                many(_META, writes.meta.items())
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    def _set_full(self, durable: bool) -> None:
        if durable != self._full:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._full = durable

    def _fail(self, error: sqlite3.Error, writes: Writes) -> None:
        named = database.named(error, self.path)
        if database.primary(error) not in database.PASSING:
            raise named from error
        self._backlog = writes
        self.degraded = str(named)
        if database.primary(error) == sqlite3.SQLITE_FULL:
            self._evict()

    def _evict(self) -> None:
        """Make room inside the file: the oldest rows of the least needed shelf go."""
        for shelf in EVICTED:
            try:
                gone = self._connection.execute(_OLDEST, (shelf, SWEEP_ROWS)).rowcount
            except sqlite3.Error:
                return
            if gone:
                return

    def sweep(self, now_ms: int, kept: dict[tuple[str, str], int]) -> int:
        """Delete some of what has expired, and what is above a group's share.

        Args:
            now_ms: unix ms.
            kept: (shelf, group) → rows kept, the newest.
        Returns:
            Rows deleted; SWEEP_ROWS or more: there may be more to do.
        """
        if self.degraded:
            return 0
        sweeps = [(_EXPIRED_STATE, (now_ms, SWEEP_ROWS)), (_EXPIRED_SHELF, (now_ms, SWEEP_ROWS))]
        above = [(_ABOVE, (*group, SWEEP_ROWS, most)) for group, most in kept.items()]
        try:
            return sum(self._connection.execute(text, values).rowcount for text, values in (*sweeps, *above))
        except sqlite3.Error as error:
            self._fail(error, self._backlog)
            return 0

    def recall(self, where: str, key: str) -> bytes | None:
        """The value of a room's key or of a shelf's row; what waits in the backlog counts.

        Raises:
            StoreError: the database is damaged.
        """
        if self._backlog:
            if (where, key) in self._backlog.state:
                row = self._backlog.state[where, key]
                return row[0] if row else None
            if (where, key) in self._backlog.shelf:
                return self._backlog.shelf[where, key][4]
        statement = (
            "SELECT value FROM shelf WHERE id = ? AND shelf = ?"
            if where in SHELVES
            else "SELECT value FROM state WHERE key = ? AND room = ?"
        )
        found = self._ask(statement, key, where)
        return bytes(found[0][0]) if found else None

    def rows(self, rooms: Sequence[str], ledger_since: int) -> Iterator[tuple[str, str, bytes, int]]:
        """State as (room, key, value, expires_ms), by room and key.

        Args:
            rooms: which; other rooms are recalled when they are needed.
            ledger_since: of the room `ledger`, only this many of the newest rows.
        Raises:
            StoreError: the database is damaged.
        """
        try:
            for room in rooms:
                yield from self._connection.execute(
                    "SELECT room, key, value, expires_ms FROM state WHERE room = ? ORDER BY key", (room,)
                )
            newest = self._connection.execute(
                "SELECT room, key, value, expires_ms FROM state WHERE room = 'ledger' ORDER BY key DESC LIMIT ?",
                (ledger_since,),
            ).fetchall()
            yield from reversed(newest)
        except sqlite3.Error as error:
            raise database.named(error, self.path) from error

    def waiting(self, after: int, limit: int) -> list[OutboxRow]:
        """At most `limit` committed rows of the outbox with an entry above `after`, in order."""
        return self._ask("SELECT * FROM outbox WHERE entry > ? ORDER BY entry LIMIT ?", after, limit)

    def meta(self, key: str) -> bytes | None:
        """What the shell remembers under `key`."""
        if key in self._backlog.meta:
            return self._backlog.meta[key]
        rows = self._ask("SELECT value FROM meta WHERE key = ?", key)
        return bytes(rows[0][0]) if rows else None

    def _ask(self, statement: str, *values: int | str) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise database.named(error, self.path) from error

    def close(self) -> StoreError | None:
        """Fold the log back and close; returns what hindered it."""
        try:
            self._connection.execute("PRAGMA optimize")
            self._connection.close()
        except sqlite3.Error as error:
            return database.named(error, self.path)
        return None
