"""Who may sign in to the dashboard, as what, and who has."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from coordinator.dashboard.roles import Role
from coordinator.errors import UnknownUser, UserTaken
from coordinator.fleet.selection import word
from coordinator.shell.dashboard.database import opened
from coordinator.shell.dashboard.passwords import Hashed, fits, hashed

LASTS_MS = 12 * 3_600_000
"""A session ends after so long, whatever is done in it."""
IDLE_MS = 3_600_000
"""And after so long in which nothing is asked; a page that is open asks by itself."""
NOTED_MS = 60_000
"""How exactly it is noted that a session was used."""


class User(Struct, frozen=True, kw_only=True):
    """Somebody who may sign in."""

    name: str
    role: Role
    made_ms: int


class Session(Struct, frozen=True, kw_only=True):
    """Somebody who has signed in."""

    user: User
    csrf: str
    """What a form of theirs must bring along: nobody else's page can know it."""


class Users:
    """The users of a home's dashboard. Each call is one transaction."""

    def __init__(self, home: Path, clock_ms: Callable[[], int] = lambda: int(time.time() * 1_000)) -> None:
        self._home, self._now_ms = home, clock_ms

    def add(self, name: str, role: Role, password: str) -> User:
        """Let somebody sign in.

        Raises:
            UserTaken: the name is somebody's.
            PasswordWeak, TagInvalid: the password, the name.
        """
        word(name, "a user")
        packed = msgspec.msgpack.encode(hashed(password))
        user = User(name=name, role=role, made_ms=self._now_ms())
        with opened(self._home) as database:
            if database.execute("SELECT 1 FROM user WHERE name = ?", (name,)).fetchone():
                raise UserTaken(
                    f"`{name}` is a user already", hint=f"another name, or: edge-coordinator dashboard users rm {name}"
                )
            database.execute("INSERT INTO user VALUES (?, ?, ?, ?)", (name, role, packed, user.made_ms))
        return user

    def remove(self, name: str) -> User:
        """Let somebody in no more; whoever is signed in by this name is signed out.

        Raises:
            UnknownUser: nobody has this name.
        """
        with opened(self._home) as database:
            row = database.execute("SELECT name, role, made_ms FROM user WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise UnknownUser(f"`{name}` is no user", hint="see: edge-coordinator dashboard users ls")
            database.execute("DELETE FROM user WHERE name = ?", (name,))
        return _user(row)

    def all(self) -> list[User]:
        """Everybody, by name."""
        with opened(self._home) as database:
            rows = database.execute("SELECT name, role, made_ms FROM user ORDER BY name").fetchall()
        return [_user(row) for row in rows]

    def known(self, name: str, password: str) -> User | None:
        """Whoever has this name and password; None: nobody, and it took as long to find out."""
        with opened(self._home) as database:
            row = database.execute("SELECT name, role, made_ms, password FROM user WHERE name = ?", (name,)).fetchone()
        held = msgspec.msgpack.decode(row[3], type=Hashed) if row is not None else None
        return _user(row) if fits(password, held) and row is not None else None

    def enter(self, user: User) -> str:
        """Sign somebody in; returns the secret of the session, for a cookie."""
        secret, now = secrets.token_urlsafe(32), self._now_ms()
        with opened(self._home) as database:
            database.execute("DELETE FROM session WHERE made_ms < ? OR used_ms < ?", (now - LASTS_MS, now - IDLE_MS))
            database.execute("INSERT INTO session VALUES (?, ?, ?, ?)", (_hash(secret), user.name, now, now))
        return secret

    def session(self, secret: str) -> Session | None:
        """Whose session a cookie is; None: nobody's, or it is over."""
        now = self._now_ms()
        with opened(self._home) as database:
            row = database.execute(
                "SELECT u.name, u.role, u.made_ms, s.used_ms FROM session s JOIN user u USING (name) "
                "WHERE s.hash = ? AND s.made_ms >= ? AND s.used_ms >= ?",
                (_hash(secret), now - LASTS_MS, now - IDLE_MS),
            ).fetchone()
            if row is not None and now - row[3] > NOTED_MS:
                database.execute("UPDATE session SET used_ms = ? WHERE hash = ?", (now, _hash(secret)))
        if row is None:
            return None
        return Session(user=_user(row), csrf=hmac.new(secret.encode(), b"csrf", "sha256").hexdigest())

    def leave(self, secret: str) -> None:
        """Sign out."""
        with opened(self._home) as database:
            database.execute("DELETE FROM session WHERE hash = ?", (_hash(secret),))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _user(row: tuple[str, str, int]) -> User:
    return msgspec.convert({"name": row[0], "role": row[1], "made_ms": row[2]}, User)
