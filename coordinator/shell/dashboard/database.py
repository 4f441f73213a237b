"""The dashboard's own file: who may sign in, who has, and who looked at what.

It is apart from the coordinator's database, so that people can sign in, and are told what is wrong, while that one
cannot be read; and so that looking never waits for a round.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.shell.database import opened as opened_in

NAME = "dashboard.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS user (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password BLOB NOT NULL,                 -- coordinator.shell.dashboard.passwords.Hashed, msgpack
    made_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS session (
    hash BLOB PRIMARY KEY,                  -- SHA-256 of the cookie's secret: the secret itself is kept nowhere
    name TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    made_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS trail (          -- only ever appended to
    number INTEGER PRIMARY KEY,
    value BLOB NOT NULL,                    -- coordinator.shell.dashboard.trail.Deed, msgpack
    hash BLOB NOT NULL                      -- see coordinator.chain
);
"""


@contextmanager
def opened(home: Path) -> Iterator[sqlite3.Connection]:
    """One transaction on the dashboard's file, which is made at the first; only its owner can read it.

    Raises:
        HomeUnreadable: the file cannot be read or written, or another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / NAME).touch(mode=0o600)
    with opened_in(home, NAME) as database:
        database.execute("PRAGMA foreign_keys = ON")
        database.executescript(_SCHEMA)
        with database:
            # The lock is taken before anything is read, so that two who append do not chain to the same line.
            database.execute("BEGIN IMMEDIATE")
            yield database
