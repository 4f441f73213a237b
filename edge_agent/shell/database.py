"""The agent's SQLite file: opened, migrated forward, and named when it cannot be used."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge_agent.errors import SchemaTooNew, StoreCorrupt, StoreError, StoreUnavailable

FILE = "edgeward.db"
SCHEMA = Path(__file__).parent / "schema"
PAGE_BYTES = 4_096
BUSY_S = 10.0
"""For how long a learner waits for the agent's own writing."""
CACHE_KIB = 2_048
WAL_PAGES = 4_000
"""Pages of the write-ahead log after which it is folded back: about 16 MiB on disk. Folding waits for the medium (a few
ms), so it is done rarely; a page that was written many times is written back once."""

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
PASSING = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    }
)
"""Primary result codes after which writing may work again later."""


def primary(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the module raised by itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def named(error: sqlite3.Error, path: Path) -> StoreError:
    """The error of ours that says what to do about SQLite's."""
    code = primary(error)
    if code in _CORRUPT:
        return StoreCorrupt(
            f"{path} is damaged: {error}",
            hint="start the agent again: it sets the file aside as NAME.damaged and takes over all that can be read "
            "(`salvage` in the settings); look at the medium's health",
        )
    if code == sqlite3.SQLITE_READONLY:
        return StoreUnavailable(
            f"{path} cannot be written: {error}",
            hint="mount the medium writable, or name another `state_dir` in the settings",
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(
            f"{path} cannot grow: {error}",
            hint="free space on its disk, or raise [device] disk_mib_max in the profile",
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreUnavailable(
            f"{path} is in use by another process", hint="one agent a `state_dir`: stop the other one"
        )
    return StoreUnavailable(
        f"{path} cannot be used: {error}",
        hint=f"does {path.parent} exist, and may this user read and write there?",
    )


def suspect(path: Path) -> Path:
    """The mark that an agent leaves when it finds its database damaged; the next start salvages it."""
    return path.with_name(f"{path.name}.suspect")


def pages(mib: int) -> int:
    """Pages that fit into `mib` MiB."""
    return mib * 1024 * 1024 // PAGE_BYTES


def open_writable(path: Path, pages_max: int) -> sqlite3.Connection:
    """The agent's own connection, at the newest schema.

    Args:
        path: the file; made when it is not there.
        pages_max: size that the file may reach, pages of 4 KiB.
    Raises:
        StoreUnavailable, StoreCorrupt, SchemaTooNew: nothing was changed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreUnavailable(
            f"{path.parent} cannot be made: {error}", hint="name a writable `state_dir` in the settings"
        ) from error
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=2.0, cached_statements=64)
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {2 * WAL_PAGES * PAGE_BYTES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA max_page_count = {pages_max}")
        _migrate(connection, path)
    except sqlite3.Error as error:
        raise named(error, path) from error
    return connection


def open_readable(path: Path) -> sqlite3.Connection:
    """A connection for `status`, `explain` and `ledger`; works beside a running agent.

    Raises:
        StoreUnavailable, StoreCorrupt, SchemaTooNew
    """
    if not path.is_file():
        raise StoreUnavailable(
            f"there is no {path}", hint="pass the agent's --state-dir, or start it once: edge-agent run"
        )
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2.0)
        _check_version(connection, path)
    except sqlite3.Error as error:
        raise named(error, path) from error
    return connection


@contextmanager
def beside(path: Path, what: str) -> Iterator[sqlite3.Connection]:
    """The running agent's database, for a learner to read.

    Args:
        what: is read there, for the error.
    Raises:
        StoreUnavailable: it cannot be read, now or by what is done inside.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as database:
            yield database
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{what} cannot be read: {error}", hint="is the agent running?") from error


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Run the schema files that this database has not seen, each in its own transaction."""
    have = _check_version(connection, path)
    for file in _schema_files()[have:]:
        number = int(file.name[:4])
        script = file.read_text(encoding="utf-8")
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    (have,) = connection.execute("PRAGMA user_version").fetchone()
    newest = len(_schema_files())
    if have > newest:
        connection.close()
        raise SchemaTooNew(
            f"{path} has schema {have}, this agent knows up to {newest}",
            hint="install the newer edgeward again, or move the file away to start with empty state",
        )
    return int(have)


def _schema_files() -> list[Path]:
    return sorted(SCHEMA.glob("[0-9][0-9][0-9][0-9]_*.sql"))
