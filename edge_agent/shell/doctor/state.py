"""The agent's own file: whole, and of a schema that this version knows."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge_agent.egress import ledger
from edge_agent.errors import StoreError
from edge_agent.shell import database
from edge_agent.shell.doctor.check import Check, fail, failed, ok

LEDGER_ROWS = 20_000
"""Newest rows whose chain is followed; `edge-agent ledger` follows all."""


class Held:
    """What the other checks want to know of the file."""

    def __init__(self) -> None:
        self.bundles: dict[str, str] = {}
        self.newest_ms = 0


def state(state_dir: Path, held: Held) -> Iterator[Check]:
    """Look at the file, without writing to it, beside a running agent or alone."""
    path = state_dir / database.FILE
    if not path.exists():
        yield ok("state", "nothing kept yet")
        return
    try:
        connection = database.open_readable(path)
    except StoreError as error:
        yield failed("state", error)
        return
    with contextlib.closing(connection):
        try:
            said = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            held.bundles = _bundles(connection)
            rows = _ledger(connection) if schema > 1 else []
        except sqlite3.Error as error:
            yield failed("state", database.named(error, path))
            return
    if said != ["ok"]:
        yield failed("state", database.named(sqlite3.DatabaseError(said[0]), path))
        return
    held.newest_ms = rows[-1].time_ms if rows else 0
    yield ok("state", f"{path.name} is whole, schema {schema}, {path.stat().st_size / 2**20:.1f} MiB")
    broken = ledger.first_break(rows, rows[0].previous if rows else ledger.GENESIS)
    if broken is None:
        yield ok("ledger", f"chain whole over {len(rows):,} entries")
    else:
        yield fail("ledger", f"the chain breaks at entry {broken}", "keep a copy for the auditor: edge-audit ledger")


def _ledger(connection: sqlite3.Connection) -> list[ledger.Row]:
    newest = connection.execute("SELECT value FROM ledger ORDER BY seq DESC LIMIT ?", (LEDGER_ROWS,)).fetchall()
    return [ledger.unpack(value) for (value,) in reversed(newest)]


def _bundles(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT key, value FROM state WHERE room = 'meta' AND key LIKE 'bundle:%'").fetchall()
    return {key.removeprefix("bundle:"): value.decode() for key, value in rows}
