"""The coordinator's database, one SQLite file that its processes share: how all of its stores open it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from coordinator.errors import HomeUnreadable

FILE: Final = "coordinator.db"
BUSY_S = 15.0
"""How long one waits for a transaction of another process."""


def prepare(home: Path, schema: str) -> None:
    """Make the home, the file and the tables of `schema` where they are missing.

    Raises:
        HomeUnreadable: it is no database, or another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with transaction(home) as database:
        database.executescript(schema)


@contextmanager
def transaction(home: Path) -> Iterator[sqlite3.Connection]:
    """What is done on the connection is committed together at the end, or not at all.

    Raises:
        HomeUnreadable: the file cannot be read or written, or another process holds it.
    """
    with opened(home) as database, database:
        yield database


@contextmanager
def opened(home: Path, name: str = FILE, *, autocommit: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to the home's file `name`, closed at the end; with `autocommit` the caller begins transactions.

    Raises:
        HomeUnreadable: the file cannot be read or written, or another process holds it.
    """
    try:
        database = connect(home, name, autocommit=autocommit)
        try:
            yield database
        finally:
            database.close()
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a mistake of ours
    except sqlite3.DatabaseError as error:
        raise unreadable(home, error) from error


def connect(home: Path, name: str = FILE, *, autocommit: bool = False) -> sqlite3.Connection:
    """A connection that waits for others, and whose commits are on the medium before it goes on.

    Raises:
        HomeUnreadable: it is no database, or another process holds it.
    """
    try:
        database = sqlite3.connect(home / name, timeout=BUSY_S, isolation_level=None if autocommit else "DEFERRED")
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
        except BaseException:
            database.close()
            raise
    except sqlite3.DatabaseError as error:
        raise unreadable(home, error) from error
    return database


def unreadable(home: Path, error: sqlite3.Error) -> HomeUnreadable:
    """The same in words that help."""
    why = str(error)
    if "locked" in why or "busy" in why:
        return HomeUnreadable(
            f"the database in {home} is held by another process", hint="try again once that lets go of it"
        )
    if "full" in why:
        return HomeUnreadable(f"the database in {home} cannot be written: {why}", hint="make room on that disk")
    return HomeUnreadable(
        f"the database in {home} cannot be read: {why}", hint="is the disk whole? put a backup of the home back"
    )
