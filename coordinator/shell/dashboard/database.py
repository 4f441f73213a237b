"""The dashboard's own file: who may sign in, who has, and who looked at what.

It is apart from the coordinator's database, so that people can sign in, and are told what is wrong, while that one
cannot be read; and so that looking never waits for a round.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.shell.database import opened as opened_in
from coordinator.shell.database import upgrade

NAME = "dashboard.db"
SCHEMA = Path(__file__).with_name("schema")


@contextmanager
def opened(home: Path) -> Iterator[sqlite3.Connection]:
    """One transaction on the dashboard's file, which is made at the first; only its owner can read it.

    Raises:
        HomeUnreadable: the file cannot be read or written, or another process holds it.
        HomeTooNew: a newer edgeward has written it.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / NAME).touch(mode=0o600)
    with opened_in(home, NAME, schema=SCHEMA) as database:
        database.execute("PRAGMA foreign_keys = ON")
        upgrade(database, home / NAME, SCHEMA)
        with database:
            # The lock is taken before anything is read, so that two who append do not chain to the same line.
            database.execute("BEGIN IMMEDIATE")
            yield database
