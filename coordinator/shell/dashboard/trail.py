"""Who did what on the dashboard, and who looked at what: a log that is only appended to, each line holding the next."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.chain import chained, root, verified
from coordinator.shell.dashboard.database import opened

NAME = "dashboard"
WHAT_MAX = 300


class Deed(Struct, frozen=True, kw_only=True):
    """One line."""

    at_ms: int
    who: str
    """Empty: somebody who had not signed in."""
    role: str
    did: str
    """looked, signed in, signed out, failed to sign in, was refused, or what was done: rollout.rollback, …"""
    what: str
    """A page, or what it was done to."""
    why: str = ""
    address: str = ""


class Entry(Struct, frozen=True, kw_only=True):
    """A line in its place."""

    number: int
    deed: Deed
    hash: str


class Trail:
    """The log in a coordinator's home."""

    def __init__(self, home: Path, clock_ms: Callable[[], int] = lambda: int(time.time() * 1_000)) -> None:
        self._home, self._now_ms = home, clock_ms

    def note(self, who: str, role: str, did: str, what: str, *, why: str = "", address: str = "") -> None:
        """Write a line down, before the page is shown or the thing is done."""
        deed = Deed(
            at_ms=self._now_ms(), who=who, role=role, did=did, what=what[:WHAT_MAX], why=why[:WHAT_MAX], address=address
        )
        packed = msgspec.msgpack.encode(deed)
        with opened(self._home) as database:
            row = database.execute("SELECT number, hash FROM trail ORDER BY number DESC LIMIT 1").fetchone()
            number, last = row if row is not None else (0, root(NAME))
            hashed = chained(last, number + 1, packed)
            database.execute("INSERT INTO trail VALUES (?, ?, ?)", (number + 1, packed, hashed))

    def newest(self, limit: int, *, looks: bool = True) -> list[Entry]:
        """The newest lines, newest first.

        Args:
            looks: False: only what was done, not what was looked at.
        """
        found: list[Entry] = []
        with opened(self._home) as database:
            for number, packed, hashed in database.execute(
                "SELECT number, value, hash FROM trail ORDER BY number DESC"
            ):
                deed = msgspec.msgpack.decode(packed, type=Deed)
                if looks or deed.did != "looked":
                    found.append(Entry(number=number, deed=deed, hash=hashed.hex()))
                if len(found) == limit:
                    break
        return found

    def verify(self) -> str:
        """Check the whole log; returns the newest hash, hex.

        Raises:
            LogDamaged: a line was changed, added or taken out.
        """
        with opened(self._home) as database:
            return verified(NAME, database.execute("SELECT number, value, hash FROM trail ORDER BY number"))
