"""A log whose lines hold each other: each has a SHA-256 over the line before, its own number and what it says.

That shows a change by whoever cannot also rewrite all that follows: note the newest hash elsewhere.
"""

import hashlib
from collections.abc import Iterable

from coordinator.errors import LogDamaged


def root(name: str) -> bytes:
    """What the first line of a log follows on."""
    return hashlib.sha256(f"edgeward {name}".encode()).digest()


def chained(last: bytes, number: int, packed: bytes) -> bytes:
    """The hash of a line.

    Args:
        last: hash of the line before, or the log's root.
        number: from 1.
        packed: what it says.
    """
    return hashlib.sha256(last + number.to_bytes(8, "big") + packed).digest()


def verified(name: str, rows: Iterable[tuple[int, bytes, bytes]]) -> str:
    """Check a whole log of (number, packed, hash); returns the newest hash, hex.

    Raises:
        LogDamaged: a line was changed, added or taken out.
    """
    last = root(name)
    for place, (number, packed, hashed) in enumerate(rows, 1):
        last = chained(last, number, packed)
        if number != place or last != hashed:
            raise LogDamaged(f"line {place} of the log of {name} is not what was written", hint="compare with a backup")
    return last.hex()
