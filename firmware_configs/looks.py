"""Who looked at what a device knows about people: one line a look, chained by hash, and without the person's name.

A log that named whom a look was about would outlive their erasure. It holds a mark instead: HMAC-SHA-256 of the name
under a key that only the device has. Whoever has the key and the name finds the looks at this person.
"""

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from firmware_configs.errors import EvidenceUnreadable

FILE = "looks.log"
GENESIS = "0" * 64
BYTES_MAX = 64 * 1024 * 1024
"""Of a log that is read."""
TEXT_MAX = 400
"""Characters of a reason, and of what was looked at."""
NAME_MAX = 128


class Look(Struct, frozen=True, kw_only=True, tag="look"):
    """Somebody looked, or wanted to."""

    number: int
    """From 1, without gaps."""
    time_ms: int
    who: str
    """Name of the account, or of the token's owner; `themselves`: the person whom it is about."""
    by: str
    """How we know who it is: `login`, `sudo`, `user`, `token` or `link`."""
    role: str
    """Under which they were let in; empty: under none, so they were not."""
    action: str
    about: str = ""
    """Mark of the person whom it is about, hex; empty: nobody in particular."""
    what: str = ""
    """The command or page, and what it was asked for; never personal data."""
    reason: str = ""
    allowed: bool = True
    previous: str
    """Hash of the line before, hex."""


class Fold(Struct, frozen=True, kw_only=True, tag="fold"):
    """Stands first in the place of looks that were kept for long enough."""

    through: int
    """Number of the newest look that is gone."""
    head: str
    """Hash of its line, hex."""


class Flaw(Struct, frozen=True, kw_only=True):
    """One thing that does not fit."""

    where: str
    what: str


class Log(Struct, frozen=True, kw_only=True):
    """A log as it was read."""

    looks: tuple[Look, ...]
    folded: int
    """Looks that were kept for long enough, and are gone."""
    head: str
    """Hash of the newest line, hex: note it elsewhere, and nobody can rewrite what was before."""
    flaws: tuple[Flaw, ...]


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Look | Fold)


def line_of(entry: Look | Fold) -> bytes:
    """An entry as the file holds it, without the line's end."""
    return _encode(entry)


def hash_of(line: bytes) -> str:
    """SHA-256 (hex) over a line, without its end."""
    return hashlib.sha256(line).hexdigest()


def mark(subject: str, key: bytes) -> str:
    """How a look names whom it is about: 32 hex digits; empty for nobody."""
    return hmac.new(key, subject.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:32] if subject else ""


def read(place: Path) -> Log:
    """The log of a state folder, or a copy of its file.

    Raises:
        EvidenceUnreadable: there is none, or it is too large.
    """
    path = place / FILE if place.is_dir() else place
    hint = "give a device's state folder, or a copy of its looks.log"
    try:
        if path.stat().st_size > BYTES_MAX:
            raise EvidenceUnreadable(f"{path} is larger than {BYTES_MAX} bytes", hint=hint)
        return examine(path.read_bytes())
    except OSError as error:
        raise EvidenceUnreadable(f"{path}: {error.strerror}", hint=hint) from None


def examine(raw: bytes) -> Log:
    """Follow the chain. Any bytes give a log; what cannot be one is a flaw with its line.

    A last line without an end was cut by a power failure before anything was shown: it is no look, and no flaw.
    """
    lines = raw.split(b"\n")[:-1]
    looks: list[Look] = []
    flaws: list[Flaw] = []
    number, expected = 0, GENESIS
    folded = 0
    for place, line in enumerate(lines, start=1):
        where = f"line {place}"
        entry = entry_of(line)
        if entry is None:
            flaws.append(Flaw(where=where, what="it is no look"))
        elif isinstance(entry, Fold):
            if place > 1:
                flaws.append(Flaw(where=where, what="looks were taken out of the middle"))
            number = folded = entry.through
            expected = entry.head
            continue
        else:
            flaws += _follows(entry, where, number, expected)
            looks.append(entry)
            number = entry.number
        expected = hash_of(line)
    return Log(looks=tuple(looks), folded=folded, head=expected, flaws=tuple(flaws))


def entry_of(line: bytes) -> Look | Fold | None:
    """What a line says; None: nothing."""
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _follows(look: Look, where: str, number: int, expected: str) -> list[Flaw]:
    if look.number != number + 1:
        return [Flaw(where=where, what=f"look {look.number} follows look {number}: some are missing")]
    if look.previous != expected:
        which = f"look {number} was changed" if number else "the beginning was changed"
        return [Flaw(where=where, what=f"{which}, or look {look.number}: the one does not follow from the other")]
    return []


def stands(log: Log, head: str) -> bool:
    """Whether a head that was noted, or its first digits, is part of the log; of what gave way only the last can be."""
    return any(known.startswith(head) for known in (log.head, GENESIS, *(look.previous for look in log.looks)))


def about(looks: Sequence[Look], mark_of_subject: str) -> list[Look]:
    """The looks at one person, oldest first."""
    return [look for look in looks if look.about == mark_of_subject]


def in_words(look: Look) -> str:
    """A look on one line; the words in it are other people's."""
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(look.time_ms / 1_000, UTC)
    role = look.role if look.allowed else "REFUSED"
    whom = f" about {look.about[:8]}" if look.about else ""
    why = f": {look.reason}" if look.reason else ""
    what = look.what or look.action
    return f"{look.number:>5}  {at:%Y-%m-%d %H:%M:%S}  {look.who} ({role}, by {look.by})  {what}{whom}{why}"
