"""What a page is asked with, and whether there is anything to read at all."""

import sqlite3
from pathlib import Path

from msgspec import Struct

from coordinator.errors import HomeUnreadable
from coordinator.shell.database import FILE, unreadable, version
from coordinator.shell.told import Reckon

LOCKED_S = 1.0
"""How long one waits for a database that somebody holds."""


class Ask(Struct, frozen=True, kw_only=True):
    """One look at one page."""

    home: Path
    params: dict[str, str]
    """Of the path, such as the device."""
    query: dict[str, str]
    now_ms: int
    reckon: Reckon

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number of the query, from 1 to `most`; what is none is the default."""
        text = self.query.get(name, "")
        return min(max(int(text), 1), most) if text.isdecimal() and len(text) < 9 else default


def readable(home: Path) -> None:
    """Look whether the coordinator's database can be read, and make none where there is none.

    Raises:
        HomeUnreadable: it is not there, is held, or is damaged.
        HomeTooNew: a newer edgeward has written it.
    """
    path = home / FILE
    if not path.exists():
        raise HomeUnreadable(
            f"there is no coordinator in {home}", hint=f"start one: edge-coordinator up --home {home}; then look again"
        )
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=LOCKED_S)
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            version(database, path)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise unreadable(home, error) from error
