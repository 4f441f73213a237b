"""The coordinator's database, one SQLite file that its processes share: how all of its stores open it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from coordinator.errors import HomeTooNew, HomeUnreadable

FILE: Final = "coordinator.db"
SCHEMA: Final = Path(__file__).with_name("schema")
"""Its tables: numbered files, each run once on a database, in order."""
BUSY_S = 15.0
"""How long one waits for a transaction of another process."""


def prepare(home: Path) -> None:
    """Make the home and its database where they are missing, and bring an older database to what is known here.

    Raises:
        HomeUnreadable: it is no database, or another process holds it.
        HomeTooNew: a newer edgeward has written it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with opened(home, autocommit=True) as database:
        upgrade(database, home / FILE, SCHEMA)


def upgrade(database: sqlite3.Connection, path: Path, schema: Path) -> None:
    """Run what a database has not seen of the files in the folder `schema`: all of it, or nothing.

    Raises:
        HomeTooNew: it has seen more than there is.
    """
    if version(database, path, schema) == len(_files(schema)):
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        have = version(database, path, schema)  # another process may have been here while we waited
        for file in _files(schema)[have:]:
            for statement in _statements(file.read_text(encoding="utf-8")):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(_files(schema))}")
    except BaseException:
        database.rollback()
        raise
    database.commit()


def version(database: sqlite3.Connection, path: Path, schema: Path = SCHEMA) -> int:
    """How many of the files in the folder `schema` a database has seen; 0 also where none was ever counted.

    Raises:
        HomeTooNew: more than there are.
    """
    (have,) = database.execute("PRAGMA user_version").fetchone()
    newest = len(_files(schema))
    if have > newest:
        raise HomeTooNew(
            f"{path} has schema {have}, this edgeward knows up to {newest}",
            hint="install the newer edgeward again, or put back the backup that was made before it",
        )
    return int(have)


@cache
def _files(schema: Path) -> tuple[Path, ...]:
    return tuple(sorted(schema.glob("[0-9][0-9][0-9][0-9]_*.sql")))


def _statements(text: str) -> Iterator[str]:
    """The statements of a file, one by one: `executescript` would commit first, and end the transaction."""
    held = ""
    for line in text.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            yield held
            held = ""
    if held.strip():
        yield held


@contextmanager
def transaction(home: Path) -> Iterator[sqlite3.Connection]:
    """What is done on the connection is committed together at the end, or not at all.

    Raises:
        HomeUnreadable: the file cannot be read or written, or another process holds it.
    """
    with opened(home) as database, database:
        yield database


@contextmanager
def opened(
    home: Path, name: str = FILE, *, schema: Path = SCHEMA, autocommit: bool = False
) -> Iterator[sqlite3.Connection]:
    """A connection to the home's file `name`, closed at the end; with `autocommit` the caller begins transactions.

    Raises:
        HomeUnreadable: the file cannot be read or written, or another process holds it.
        HomeTooNew: a newer edgeward has written it.
    """
    try:
        database = connect(home, name, schema=schema, autocommit=autocommit)
        try:
            yield database
        finally:
            database.close()
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a mistake of ours
    except sqlite3.DatabaseError as error:
        raise unreadable(home, error) from error


def connect(home: Path, name: str = FILE, *, schema: Path = SCHEMA, autocommit: bool = False) -> sqlite3.Connection:
    """A connection that waits for others, and whose commits are on the medium before it goes on.

    Raises:
        HomeUnreadable: it is no database, or another process holds it.
        HomeTooNew: a newer edgeward has written it; nothing of it is changed.
    """
    try:
        database = sqlite3.connect(home / name, timeout=BUSY_S, isolation_level=None if autocommit else "DEFERRED")
        try:
            version(database, home / name, schema)
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
