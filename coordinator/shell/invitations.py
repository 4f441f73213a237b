"""Invitations: tokens that let one device in, once. Only hashes are kept."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from coordinator.errors import TokenExpired, TokenUnknown, TokenUsed
from coordinator.shell.authority import fingerprint, token_hash
from coordinator.shell.fleet_store import FleetStore
from firmware_configs.enrolment import SECRET_BYTES, Token

HINT = "ask for another one: edge-coordinator nodes invite"


class Invitations:
    """Those of one coordinator's home."""

    def __init__(self, home: Path, random: Callable[[int], bytes] = os.urandom) -> None:
        self._home, self._random = home, random
        self._store = FleetStore(home)

    def make(self, count: int, lasts_s: float, *, device: str = "", groups: Sequence[str] = ()) -> list[Token]:
        """Make tokens.

        Args:
            lasts_s: seconds until they end.
            device: the only name that they are good for; empty: any that is free.
            groups: what the device is put into.
        """
        now = _now_ms()
        pin = bytes.fromhex(fingerprint(self._home))
        tokens = [Token(self._random(SECRET_BYTES), pin) for _ in range(count)]
        rows = [
            (token_hash(one.secret), device, json.dumps(list(groups)), now, now + int(lasts_s * 1_000))
            for one in tokens
        ]
        with self._store.open() as database:
            database.executemany(
                "INSERT INTO fleet_invite (hash, device, groups, made_ms, expires_ms) VALUES (?, ?, ?, ?, ?)", rows
            )
        return tokens

    def claim(self, secret: bytes, device: str, key: str) -> list[str]:
        """Use a token up. The device that used it may come again with the same key: its answer may have been lost.

        Returns:
            The groups that it is put into.
        Raises:
            TokenUnknown, TokenExpired, TokenUsed: nothing has changed.
        """
        code, who, now = token_hash(secret), f"{device} {key}", _now_ms()
        with self._store.open() as database:
            # One statement decides: of two that come at once, one finds it used.
            taken = database.execute(
                "UPDATE fleet_invite SET used_by = ?1, used_ms = ?2 WHERE hash = ?3 AND used_by IN ('', ?1) "
                "AND expires_ms > ?2 AND withdrawn_ms = 0 AND device IN ('', ?4)",
                (who, now, code, device),
            ).rowcount
            row = database.execute(
                "SELECT device, groups, expires_ms, used_by, withdrawn_ms FROM fleet_invite WHERE hash = ?", (code,)
            ).fetchone()
        if taken:
            groups: list[str] = json.loads(row[1])
            return groups
        if row is None or row[4] or (row[0] and row[0] != device):
            raise TokenUnknown("this token is not known, was withdrawn, or is for another device", hint=HINT)
        if row[3] not in {"", who}:
            raise TokenUsed("this token was used by another device or key", hint=HINT)
        raise TokenExpired("this token has ended", hint=HINT)

    def release(self, secret: bytes) -> None:
        """Give a token back whose use came to nothing."""
        with self._store.open() as database:
            database.execute("UPDATE fleet_invite SET used_by = '' WHERE hash = ?", (token_hash(secret),))

    def withdraw(self) -> int:
        """Let no token that is still unused be used."""
        with self._store.open() as database:
            return database.execute(
                "UPDATE fleet_invite SET withdrawn_ms = ? WHERE used_by = '' AND withdrawn_ms = 0", (_now_ms(),)
            ).rowcount


def _now_ms() -> int:
    return int(time.time() * 1_000)
