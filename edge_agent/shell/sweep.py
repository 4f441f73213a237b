"""Sweeps: what has expired, what is above its share, and what goes first when the file is full.

A sweep looks at a bounded stretch and goes on from there the next time, so it never holds a decision up for long and
no index of expiry times has to be kept up by every commit.
"""

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from edge_agent.egress import ledger
from edge_agent.egress.outbox import Waiting, evicted
from edge_agent.limits import DEDUPE_MAX

SWEEP_ROWS = 500
"""Rows of each table that one sweep looks at."""
EVICTED = ("journal", "decision", "outcome", "example")
"""In this order shelves give rows up when the file has reached its size: the oldest first."""
LEDGER_ROW_BYTES = 320
"""What a row of the ledger takes in the file, about."""
LEDGER_SHARE = 0.5
"""Of the file, when it is full: above it the oldest ledger rows go first (docs/adr/0017)."""

_STATE = "SELECT room, key FROM state WHERE (room, key) > (?, ?) ORDER BY room, key LIMIT ?"
_STATE_GONE = """
DELETE FROM state WHERE (room, key) > (?, ?) AND (room, key) <= (?, ?) AND expires_ms BETWEEN 1 AND ?
"""
_STATE_LATEST = """
UPDATE state SET expires_ms = ? WHERE (room, key) > (?, ?) AND (room, key) <= (?, ?) AND expires_ms > ?
"""
_SHELF_LATEST = "UPDATE shelf SET expires_ms = ? WHERE number > ? AND number <= ? AND expires_ms > ?"
_SHELF = "SELECT number FROM shelf WHERE number > ? ORDER BY number LIMIT ?"
_SHELF_GONE = "DELETE FROM shelf WHERE number > ? AND number <= ? AND expires_ms BETWEEN 1 AND ?"
_SEEN = "SELECT number, expires_ms FROM seen ORDER BY number LIMIT ?"
_SEEN_GONE = "DELETE FROM seen WHERE number <= ?"
_SEEN_NEWEST = "SELECT coalesce(max(number), 0) FROM seen"
_LEDGER_OLDEST = "SELECT value FROM ledger WHERE seq <= ? ORDER BY seq LIMIT ?"
_PRUNED = "SELECT value FROM meta WHERE key = 'ledger.pruned'"
_SET_PRUNED = "INSERT INTO meta VALUES ('ledger.pruned', ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_ABOVE = """
DELETE FROM shelf WHERE number IN
    (SELECT number FROM shelf WHERE shelf = 'example' AND grp = ? ORDER BY number DESC LIMIT ? OFFSET ?)
"""
_LEDGER = "SELECT coalesce(max(seq), 0), coalesce(max(seq) - min(seq) + 1, 0) FROM ledger"
_LEDGER_GONE = "DELETE FROM ledger WHERE seq <= ?"
_OLDEST = "DELETE FROM shelf WHERE number IN (SELECT number FROM shelf WHERE shelf = ? ORDER BY number LIMIT ?)"
_COLDEST = """
DELETE FROM state WHERE room = 'profile' AND key IN
    (SELECT key FROM state WHERE room = 'profile' AND expires_ms > 0 ORDER BY expires_ms LIMIT ?)
"""
_OUTBOX = "SELECT entry, kind, expires_ms, retain FROM outbox ORDER BY entry"
_OUTBOX_EXPIRED = "DELETE FROM outbox WHERE expires_ms BETWEEN 1 AND ?"
_OUTBOX_GONE = "DELETE FROM outbox WHERE entry = ?"


class Sweeper:
    """Goes round the tables, a stretch at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._state = ("", "")
        self._shelf = 0

    def expired(self, now_ms: int, longest_ms: int) -> int:
        """Delete what has expired in the next stretch of each table; returns how many rows.

        Args:
            now_ms: unix ms.
            longest_ms: how long any row may be kept. One that would be kept longer was dated by a clock that was ahead.
        """
        latest_ms = now_ms + longest_ms
        return (
            self._expired_state(now_ms, latest_ms) + self._expired_shelf(now_ms, latest_ms) + self._expired_seen(now_ms)
        )

    def _expired_state(self, now_ms: int, latest_ms: int) -> int:
        rows = self._connection.execute(_STATE, (*self._state, SWEEP_ROWS)).fetchall()
        since, self._state = self._state, (rows[-1] if len(rows) == SWEEP_ROWS else ("", ""))
        if not rows:
            return 0
        self._connection.execute(_STATE_LATEST, (latest_ms, *since, *rows[-1], latest_ms))
        return self._connection.execute(_STATE_GONE, (*since, *rows[-1], now_ms)).rowcount

    def _expired_shelf(self, now_ms: int, latest_ms: int) -> int:
        rows = self._connection.execute(_SHELF, (self._shelf, SWEEP_ROWS)).fetchall()
        since, self._shelf = self._shelf, (rows[-1][0] if len(rows) == SWEEP_ROWS else 0)
        if not rows:
            return 0
        self._connection.execute(_SHELF_LATEST, (latest_ms, since, rows[-1][0], latest_ms))
        return self._connection.execute(_SHELF_GONE, (since, rows[-1][0], now_ms)).rowcount

    def _expired_seen(self, now_ms: int) -> int:
        rows = self._connection.execute(_SEEN, (SWEEP_ROWS,)).fetchall()
        (newest,) = self._connection.execute(_SEEN_NEWEST).fetchone()
        gone = 0
        for number, expires_ms in rows:
            if expires_ms > now_ms and number > newest - DEDUPE_MAX:
                break
            gone = number
        return self._connection.execute(_SEEN_GONE, (gone,)).rowcount if gone else 0

    def prune_ledger(self, through: int) -> int:
        """Fold ledger rows up to the number `through`, or as many as are read at once, into their sums and the chain's
        hash; the caller holds the transaction. Returns how many."""
        found = self._connection.execute(_LEDGER_OLDEST, (through, 10 * SWEEP_ROWS)).fetchall()
        if not found:
            return 0
        pruned = ledger.prune(pruned_of(self._connection), [ledger.unpack(value) for (value,) in found])
        self._connection.execute(_SET_PRUNED, (msgspec.msgpack.encode(pruned),))
        return self._connection.execute(_LEDGER_GONE, (pruned.through,)).rowcount

    def above(self, kept: Mapping[str, int]) -> int:
        """Delete the oldest examples above each model's share.

        Args:
            kept: model → examples kept.
        """
        return sum(self._connection.execute(_ABOVE, (name, SWEEP_ROWS, most)).rowcount for name, most in kept.items())

    def oldest(self, file_bytes: int) -> int:
        """Make room inside the file: the ledger's rows above its share go, else the oldest of the least needed shelf,
        else profiles that nothing was heard of for longest.

        Args:
            file_bytes: size that the file may reach.
        Returns:
            How many rows went.
        """
        last, rows = self._connection.execute(_LEDGER).fetchone()
        if rows > (most := int(file_bytes * LEDGER_SHARE / LEDGER_ROW_BYTES)):
            return self.prune_ledger(last - most + SWEEP_ROWS)
        for shelf in EVICTED:
            if gone := self._connection.execute(_OLDEST, (shelf, SWEEP_ROWS)).rowcount:
                return gone
        return self._connection.execute(_COLDEST, (SWEEP_ROWS,)).rowcount

    def stale_outbox(self, now_ms: int) -> int:
        """Delete what waits for the broker and is no longer worth sending; returns how many."""
        return self._connection.execute(_OUTBOX_EXPIRED, (now_ms,)).rowcount

    def crowded_outbox(self, most: int) -> Sequence[int]:
        """Give up what is least worth sending, so that at most `most` wait; returns the entries."""
        waiting = [Waiting(*row) for row in self._connection.execute(_OUTBOX)]
        gone = evicted(waiting, most)
        self._connection.executemany(_OUTBOX_GONE, [(entry,) for entry in gone])
        return gone


def pruned_of(connection: sqlite3.Connection) -> ledger.Pruned:
    """What the database says of ledger rows that are gone."""
    row = connection.execute(_PRUNED).fetchone()
    return msgspec.msgpack.decode(row[0], type=ledger.Pruned) if row else ledger.Pruned()
