"""Passwords, kept as scrypt keeps them: salted, and 96 MiB·passes of work for each guess.

Source: RFC 7914; parameters as the OWASP Password Storage Cheat Sheet has them (N = 2^15, r = 8, p = 3).
"""

import hashlib
import hmac
import secrets
import threading

from msgspec import Struct

from coordinator.errors import PasswordWeak

LENGTH_MIN, LENGTH_MAX = 12, 1_024
COST, BLOCK, PASSES = 2**15, 8, 3
BYTES = 32
_one_at_a_time = threading.Lock()
"""Each takes 32 MiB while it runs: many guesses at once must not take the machine's memory."""


class Hashed(Struct, frozen=True, kw_only=True):
    """What is kept of a password, with what it was made by."""

    salt: bytes
    key: bytes
    cost: int = COST
    block: int = BLOCK
    passes: int = PASSES


def hashed(password: str) -> Hashed:
    """What is kept of a new password.

    Raises:
        PasswordWeak: it is shorter than 12 characters, or absurdly long.
    """
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise PasswordWeak(
            f"a password of {len(password)} characters",
            hint=f"{LENGTH_MIN} or more, such as four words that have nothing to do with each other",
        )
    salt = secrets.token_bytes(16)
    return Hashed(salt=salt, key=_derived(password, Hashed(salt=salt, key=b"")))


def fits(password: str, held: Hashed | None) -> bool:
    """Whether it is the password; None, for a person who is not known, takes as long as one who is."""
    asked = held or _NOBODY
    return len(password) <= LENGTH_MAX and hmac.compare_digest(_derived(password, asked), asked.key)


def _derived(password: str, how: Hashed) -> bytes:
    with _one_at_a_time:
        return hashlib.scrypt(
            password.encode(),
            salt=how.salt,
            n=how.cost,
            r=how.block,
            p=how.passes,
            maxmem=2 * 128 * how.block * how.cost,
            dklen=BYTES,
        )


_NOBODY = Hashed(salt=bytes(16), key=bytes(BYTES))
