"""A damaged database: set aside, and what can still be read of it taken over into a new one.

SQLite finds damage only where it looks, so rows are copied one by one from both ends of each table until something
cannot be read. The device's secret and consent come first: without the one, hashes change; without the other, nothing
may be kept. The ledger's chain tells by itself where rows are missing.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from edge_agent.shell import database

TABLES = {
    "meta": ("key",),
    "state": ("room", "key"),
    "ledger": ("seq",),
    "seen": ("number",),
    "outbox": ("entry",),
    "shelf": ("number",),
}
"""Table → primary key, in the order of what a device misses most."""
DAMAGED = ".damaged"


def salvage(path: Path, pages_max: int) -> dict[str, int]:
    """Replace a damaged database by a new one with all that can be read of it.

    The damaged file is kept beside it as `NAME.damaged`; an older one of that name is replaced, so that damage cannot
    fill the disk.

    Args:
        path: the database.
        pages_max: size that the new file may reach, pages.
    Returns:
        Table → rows taken over.
    Raises:
        StoreError: the folder cannot be written.
    """
    aside = path.with_name(path.name + DAMAGED)
    draft = path.with_name(path.name + ".salvaged")
    for file in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
        file.unlink(missing_ok=True)
    taken = dict.fromkeys(TABLES, 0)
    with closing(database.open_writable(draft, pages_max)) as fresh:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=2.0)) as damaged:
            fresh.execute("BEGIN IMMEDIATE")
            for table, key in TABLES.items():
                taken[table] = _copy(damaged, fresh, table, key)
            fresh.execute("COMMIT")
        fresh.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{ending}").replace(f"{aside}{ending}")
    draft.replace(path)
    database.suspect(path).unlink(missing_ok=True)
    return taken


def _copy(damaged: sqlite3.Connection, fresh: sqlite3.Connection, table: str, key: tuple[str, ...]) -> int:
    columns = [row[1] for row in fresh.execute(f"PRAGMA table_info({table})")]
    marks = ", ".join("?" for _ in columns)
    copied = 0
    for row in _readable(damaged, table, columns, key):
        with suppress(sqlite3.IntegrityError, sqlite3.ProgrammingError):
            copied += fresh.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row).rowcount  # noqa: S608
    return copied


def _readable(
    damaged: sqlite3.Connection, table: str, columns: list[str], key: tuple[str, ...]
) -> Iterator[tuple[object, ...]]:
    """Rows from the start of a table up to the first that cannot be read, and then from its end."""
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{name} {direction}" for name in key)
        try:
            # Names of tables and columns are this module's own.
            yield from damaged.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}")  # noqa: S608
        except sqlite3.Error:
            continue
        return
