"""The device's memory on disk: one transaction a batch; full or read-only disks degrade to memory.

What could not be written waits in `backlog` and is written with the next transaction that works. The run
loop acknowledges nothing of a critical source meanwhile, and stops reading when the backlog is full.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_agent.egress import ledger
from edge_agent.errors import StoreError
from edge_agent.limits import OUTBOX_MAX, OUTBOX_SLACK
from edge_agent.shell import database
from edge_agent.shell.reserve import Reserve
from edge_agent.shell.sweep import Sweeper
from edge_agent.shell.writes import OutboxRow, Writes

EVICTIONS_MAX = 8
"""How often the oldest rows go for one transaction; then it waits in memory."""
GROWN_PAGES = 64
"""A transaction needs some pages at once: within so many of its limit, a file counts as grown."""
BACKLOG_BYTES_MAX = 16 * 1024 * 1024
"""Memory for what a full disk refuses; above, the loop reads no more from the broker."""
SHELVES = frozenset({"decision", "example", "journal", "outcome"})

_PUT = (
    "INSERT INTO state VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET value = excluded.value, expires_ms = excluded.expires_ms"
)
_DROP = "DELETE FROM state WHERE room = ? AND key = ?"
_SEE = "INSERT INTO seen (id, expires_ms) VALUES (?, ?)"
_ENTER = "INSERT OR REPLACE INTO ledger VALUES (?, ?)"
_APPEND = (
    "INSERT OR IGNORE INTO shelf (shelf, id, grp, subject, value, made_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_ERASE = "DELETE FROM shelf WHERE shelf = ? AND grp = ? AND subject = ?"
_QUEUE = "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_REPLACED = "DELETE FROM outbox WHERE retain = 1 AND topic = ?"
_DELIVERED = "DELETE FROM outbox WHERE entry = ?"
_META = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_ROOM = "SELECT room, key, value, expires_ms FROM state WHERE room = ? ORDER BY key"
_SEEN = "SELECT 'dedupe', id, x'', expires_ms FROM seen ORDER BY number"
_LEDGER = "SELECT 'ledger', printf('%012d', seq), value, 0 FROM ledger ORDER BY seq DESC"


class Store:
    """Owns the connection; nothing else writes to the file.

    Attributes:
        degraded: why writing does not work at present; empty when it does.
        waiting_rows: messages in the outbox.
        evicted, expired: messages that were given up since these were last taken.
        rows_evicted: rows of shelves that made room since this was last taken.
    """

    def __init__(self, path: Path, mib_max: int) -> None:
        """Open or make the database.

        Raises:
            StoreUnavailable, StoreCorrupt, SchemaTooNew
        """
        self.path = path
        self.degraded = ""
        self._pages_max = database.pages(mib_max)
        self._backlog = Writes()
        self._connection = database.open_writable(path, self._pages_max)
        self._cursor = self._connection.cursor()
        self._full = self._owed = False
        self._sweeper = Sweeper(self._connection)
        (self.waiting_rows,) = self._ask("SELECT count(*) FROM outbox")[0]
        self.evicted = self.expired = self.rows_evicted = 0
        self._reserve = Reserve(path.parent)
        self._is_whole, self._kept_through = True, 0
        """Of the reserve: whether it has every ledger row of the backlog, and up to which number."""
        self._take_up(self._reserve.rows())

    @property
    def overflowing(self) -> bool:
        """Whether the backlog is full: what is read from now on could not be kept anywhere."""
        return self._backlog.size >= BACKLOG_BYTES_MAX

    @property
    def backlog_bytes(self) -> int:
        """What waits in memory to be written."""
        return self._backlog.size

    @property
    def is_entered(self) -> bool:
        """Whether the ledger's rows so far would be there after the process ended now, and what they tell of may go."""
        return not self.degraded or self._is_whole

    def _take_up(self, kept: Mapping[int, bytes]) -> None:
        """Bring rows of the reserve into the ledger: the last process ended on a medium that took nothing."""
        (newest,) = self._ask("SELECT coalesce(max(seq), 0) FROM ledger")[0]
        # What does not follow would break the chain: a medium has lost what it said it had.
        rows = {number: row for number, row in kept.items() if number > newest and newest + 1 in kept}
        if rows:
            self._kept_through = max(rows)
            self.commit(Writes(ledger=rows), durable=True)
        if not self.degraded:
            self._reserve.clear()

    @property
    def secret(self) -> bytes:
        """The device's own 32 random bytes, made at the first start; they never leave."""
        known = self.meta("secret")
        if known is None:
            known = os.urandom(32)
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
        if self.degraded and self._backlog:
            self._backlog.absorb(writes)
            writes = self._backlog
        elif not writes:
            return True
        # What could not be written may be acknowledged with this transaction: it is as durable as the most critical.
        self._owed = self._owed or durable
        try:
            if self._owed != self._full:
                self._set_full(self._owed)
            self._fit(writes)
        except sqlite3.Error as error:
            self._fail(error, writes)
            return False
        self._owed = False
        if self.degraded:
            self._backlog, self.degraded = Writes(), ""
            self._is_whole, self._kept_through = True, 0
            self._reserve.clear()
        if self.waiting_rows > OUTBOX_MAX + OUTBOX_SLACK:
            self._relieve_outbox()
        return True

    def _fit(self, writes: Writes) -> None:
        """Write a transaction; in a file that has reached its own size, the oldest rows make room for it.

        That is how a device lives after its first weeks, not a fault: nothing is said and nothing waits.
        """
        for _ in range(EVICTIONS_MAX):
            try:
                self._transact(writes)
            except sqlite3.Error as error:
                if database.primary(error) != sqlite3.SQLITE_FULL or not self._is_grown():
                    raise
                gone = self._sweeper.oldest(self._pages_max * database.PAGE_BYTES)
                self.rows_evicted += gone
                if not gone:
                    raise
            else:
                return
        self._transact(writes)

    def _is_grown(self) -> bool:
        """Whether the file has the size that the profile allows; else it is the medium that is full."""
        return int(self._ask("PRAGMA page_count")[0][0]) >= self._pages_max - GROWN_PAGES

    def _transact(self, writes: Writes) -> None:
        run, many = self._cursor.execute, self._cursor.executemany
        waiting = self.waiting_rows
        run("BEGIN IMMEDIATE")
        try:
            # What frees pages goes first: on a full file the rest may then fit.
            if writes.delivered:
                waiting -= many(_DELIVERED, [(entry,) for entry in writes.delivered]).rowcount
            if writes.erased:
                many(_ERASE, writes.erased)
            if writes.state:
                puts = [(*key, *row) for key, row in writes.state.items() if row is not None]
                if len(puts) < len(writes.state):
                    many(_DROP, [key for key, row in writes.state.items() if row is None])
                many(_PUT, puts)
            if writes.seen:
                many(_SEE, writes.seen.items())
            if writes.ledger:
                many(_ENTER, writes.ledger.items())
            if writes.shelf:
                many(_APPEND, writes.shelf.values())
            if writes.outbox:
                waiting += self._queue(writes.outbox)
            if writes.meta:
                many(_META, writes.meta.items())
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise
        self.waiting_rows = waiting

    def _queue(self, rows: Mapping[int, OutboxRow]) -> int:
        """Add to the outbox; a retained message replaces the one of its topic that still waits. Returns the growth."""
        many = self._cursor.executemany
        retained = {row[1] for row in rows.values() if row[4]}
        gone = many(_REPLACED, [(topic,) for topic in retained]).rowcount if retained else 0
        return many(_QUEUE, rows.values()).rowcount - gone

    def _relieve_outbox(self) -> None:
        try:
            gone = self._sweeper.crowded_outbox(OUTBOX_MAX)
        except sqlite3.Error as error:
            self._fail(error, self._backlog)
            return
        self.waiting_rows -= len(gone)
        self.evicted += len(gone)

    def _set_full(self, durable: bool) -> None:
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._full = durable

    def _fail(self, error: sqlite3.Error, writes: Writes) -> None:
        named = database.named(error, self.path)
        if database.primary(error) not in database.PASSING:
            raise named from error
        self._backlog = writes
        self.degraded = str(named)
        fresh = {number: row for number, row in writes.ledger.items() if number > self._kept_through}
        if fresh and self._is_whole:
            # All or none from here on: a chain with a gap proves nothing.
            self._is_whole = (bool(self._kept_through) or self._sync_log()) and self._reserve.keep(fresh)
            self._kept_through = max(fresh)
        if database.primary(error) == sqlite3.SQLITE_FULL:
            self._evict()

    def _sync_log(self) -> bool:
        """See that the rows before those of the reserve outlive the power; whether they do."""
        try:
            # Closing it costs no lock: SQLite holds none on its log.
            opened = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.fdatasync(opened)
        except OSError:
            return False
        finally:
            os.close(opened)
        return True

    def _evict(self) -> None:
        """Make room inside the file; the sweeper says what goes first."""
        try:
            self._sweeper.oldest(self._pages_max * database.PAGE_BYTES)
        except sqlite3.Error:
            return

    def sweep(self, now_ms: int, kept: Mapping[str, int], longest_ms: int) -> int:
        """Delete some of what has expired, and what is above a model's share.

        Args:
            now_ms: unix ms.
            kept: model → examples kept, the newest.
            longest_ms: how long any row may be kept.
        Returns:
            Rows deleted.
        """
        if self.degraded:
            return 0
        stale = self.drop_stale(now_ms)
        try:
            return stale + self._sweeper.expired(now_ms, longest_ms) + self._sweeper.above(kept)
        except sqlite3.Error as error:
            self._fail(error, self._backlog)
            return stale

    def drop_stale(self, now_ms: int) -> int:
        """Give up what waits for the broker and is no longer worth sending; returns how many."""
        try:
            stale = self._sweeper.stale_outbox(now_ms)
        except sqlite3.Error as error:
            self._fail(error, self._backlog)
            return 0
        self.waiting_rows -= stale
        self.expired += stale
        return stale

    def recall(self, where: str, key: str) -> bytes | None:
        """The value of a room's key or of a shelf's row; what waits in the backlog counts.

        Raises:
            StoreError: the database is damaged.
        """
        if self.degraded:
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

    def holds(self, room: str) -> bool:
        """Whether there is any row of a room."""
        return bool(self._ask("SELECT 1 FROM state WHERE room = ? LIMIT 1", room))

    def rows(self, rooms: Sequence[str], ledger_since: int) -> Iterator[tuple[str, str, bytes, int]]:
        """State as (room, key, value, expires_ms), by room and key.

        Args:
            rooms: which; other rooms are recalled when they are needed.
            ledger_since: of the room `ledger`, only the newest row and those since then, unix ms.
        Raises:
            StoreError: the database is damaged.
        """
        try:
            for room in rooms:
                yield from self._connection.execute(*((_SEEN,) if room == "dedupe" else (_ROOM, (room,))))
            newest = []
            for row in self._connection.execute(_LEDGER):
                newest.append(row)
                if ledger.unpack(row[2]).time_ms < ledger_since:
                    break
            yield from reversed(newest)
            for number, value in self._backlog.ledger.items():
                yield "ledger", f"{number:012d}", value, 0
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
        self._reserve.close()
        try:
            self._connection.execute("PRAGMA optimize")
            self._connection.close()
        except sqlite3.Error as error:
            return database.named(error, self.path)
        return None
