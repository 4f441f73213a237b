"""A device's ledger as evidence: read from its database or from a file that it gave out, and examined.

Nothing here trusts the file: rows that cannot be read, chains that break, roots and signatures that do not fit are
findings, each with its place.
"""

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key
from msgspec import Struct

from firmware_configs import ledger, ledger_reserve
from firmware_configs.errors import EvidenceUnreadable, UsageError
from firmware_configs.ledger import DAY_MS, Proof, Pruned, Row, Seal

DATABASE = "edgeward.db"
SUFFIX = ".ledger"
SEALS = "seals"
"""Folder beside the database: one file a sealed day, `2026-11-29.seal`."""
SEAL_BYTES_MAX = 4_096
KEPT_MIN = 6_000
"""Entries that a device keeps at least when it makes room: half of the smallest file (4 MiB) at 320 bytes an entry,
less a sweep (docs/adr/0017)."""
_HEAD = re.compile(r"[0-9a-f]{16,64}")
KEY_HINT = "node.pub of the device; the coordinator has it too (nodes/DEVICE.pub in its home)"
BYTES_MAX = 2 * 1024**3


class Evidence(Struct, frozen=True, kw_only=True):
    """What a device shows of its ledger; the file that `edge-agent ledger export` writes is this in msgpack."""

    device: str
    rows: tuple[bytes, ...]
    """As stored, in order."""
    pruned: Pruned = Pruned()
    seals: tuple[Seal, ...] = ()


class Flaw(Struct, frozen=True, kw_only=True):
    """One thing that does not fit."""

    where: str
    what: str


class Verdict(Struct, frozen=True, kw_only=True):
    """What an examination came to."""

    device: str
    entries: int
    since: int
    """Sequence number of the oldest entry that is kept."""
    head: str
    bytes: dict[str, int]
    """Kind → bytes, of what gave way too."""
    days_sealed: int
    signed_through: int
    """Sequence number of the newest entry under a signature that fits; 0: none, or no key to check with."""
    unsigned: int
    """How many entries that are kept come after it."""
    overdue: int
    """Of them, entries of days before the newest entry's: they were over, and should have been sealed."""
    flaws: tuple[Flaw, ...]


def read(place: Path) -> Evidence:
    """The evidence in a state folder, a database or an exported file.

    What a device wrote beside its database while that took nothing belongs to it, as long as the file lies there.

    Raises:
        EvidenceUnreadable: there is none, or it is something else.
    """
    path = place / DATABASE if place.is_dir() else place
    hint = "give a device's state folder, its edgeward.db, or a file of `edge-agent ledger export`"
    if not path.is_file():
        raise EvidenceUnreadable(f"{path}: no such file", hint=hint)
    if path.stat().st_size > BYTES_MAX:
        raise EvidenceUnreadable(f"{path} is larger than {BYTES_MAX} bytes", hint=hint)
    with path.open("rb") as file:
        is_database = file.read(15) == b"SQLite format 3"
    try:
        if is_database:
            return _of_database(path)
        return of_export(path.read_bytes(), str(path))
    except (sqlite3.Error, OSError) as error:
        raise EvidenceUnreadable(f"{path} cannot be read as a ledger: {error}", hint=hint) from None


def of_export(raw: bytes, path: str) -> Evidence:
    """`read` for the bytes of an exported file; `path` is what errors call it.

    An export has one form: a key that is unknown, missing or written otherwise was not written by a device.
    """
    hint = "its bytes were changed after a device wrote it, or it is no export: export it again, and keep this file"
    try:
        found = msgspec.msgpack.decode(raw, type=Evidence)
    except (msgspec.MsgspecError, ValueError) as error:
        raise EvidenceUnreadable(f"{path} cannot be read as a ledger: {error}", hint=hint) from None
    if msgspec.msgpack.encode(found) != raw:
        raise EvidenceUnreadable(f"{path} is not in the form in which a device exports its ledger", hint=hint)
    return found


def _of_database(path: Path) -> Evidence:
    # Seals first: of a running agent, they may then be older than its rows, never newer.
    seals = read_seals(path.parent / SEALS)
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        # In one transaction, or rows that give way meanwhile would count as kept and as gone.
        database.execute("BEGIN")
        rows = tuple(ledger_reserve.rows(database, path.parent))
        gone = database.execute("SELECT value FROM meta WHERE key = 'ledger.pruned'").fetchone()
    pruned = msgspec.msgpack.decode(gone[0], type=Pruned) if gone else Pruned()
    return Evidence(device=seals[-1].device if seals else "", rows=rows, pruned=pruned, seals=seals)


def read_seals(folder: Path) -> tuple[Seal, ...]:
    """The seals of a device, oldest first.

    Raises:
        EvidenceUnreadable: a file is none.
    """
    found = []
    for path in sorted(folder.glob("*.seal")):
        try:
            if path.stat().st_size > SEAL_BYTES_MAX:
                raise EvidenceUnreadable(f"{path} is too large for a seal", hint="restore it from a backup")
            found.append(msgspec.msgpack.decode(path.read_bytes(), type=Seal))
        except (OSError, msgspec.MsgspecError) as error:
            raise EvidenceUnreadable(f"{path} is no seal: {error}", hint="restore it from a backup") from None
    return tuple(sorted(found, key=lambda seal: seal.day))


def read_key(path: Path) -> ec.EllipticCurvePublicKey:
    """A device's public key: node.pub, as OpenSSH or PEM writes it.

    Raises:
        EvidenceUnreadable: it is none.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise EvidenceUnreadable(f"{path} is no public key: {error}", hint=KEY_HINT) from None
    return key_of(raw, str(path))


def key_of(raw: bytes, path: str) -> ec.EllipticCurvePublicKey:
    """`read_key` for a key at hand; `path` is what errors call it."""
    try:
        load = load_pem_public_key if raw.startswith(b"-----") else load_ssh_public_key
        key = load(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceUnreadable(f"{path} is no public key: {error}", hint=KEY_HINT) from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise EvidenceUnreadable(f"{path} holds no EC key", hint=KEY_HINT)
    return key


def read_head(text: str) -> str:
    """A hash that a device reported, or its first 16 digits or more, as commands print them.

    Raises:
        UsageError: it is none.
    """
    digits = text.strip().removesuffix("…").removesuffix("...").lower()
    if not _HEAD.fullmatch(digits):
        hint = "give `ledger_head` of the device's `reported` message, or 16 or more of its first digits"
        raise UsageError(f"--head {text!r} is no hash", hint=hint)
    return digits


def examine(evidence: Evidence, key: ec.EllipticCurvePublicKey | None = None, head: str = "") -> Verdict:
    """Follow the chain, build the roots again, check the signatures.

    What passes with a key: at least one entry that is kept is signed, directly or by the chain that leads to a signed
    head, and so is everything kept before it; what gave way is the ledger's beginning, up to a hash that the first kept
    entry names. Entries after the newest signed one are chained only, and counted as unsigned.

    Args:
        key: the device's; None: signatures are not looked at.
        head: what the device reported as its newest hash at some time, hex, whole or its beginning; empty: nothing to
            compare.
    """
    flaws: list[Flaw] = []
    rows = list(_decoded(evidence.rows, flaws))
    kept = [row for row in rows if row.seq > evidence.pruned.through]
    flaws += _pruned(evidence.pruned, len(kept))
    broken = list(_chain(rows, evidence.pruned))
    flaws += (flaw for _, flaw in broken)
    signed = _seals(evidence, kept, key, flaws, min((seq for seq, _ in broken), default=None))
    if evidence.seals and evidence.device != evidence.seals[-1].device:
        flaws.append(Flaw(where="device", what=f"the newest seal is of {evidence.seals[-1].device}"))
    if key is not None and signed <= evidence.pruned.through and not (evidence.seals and flaws):
        flaws.append(Flaw(where="seals", what=_why_unsigned(evidence)))
    whole = ledger.prune(evidence.pruned, kept)
    heads = (whole.head, evidence.pruned.head, *(row.previous for row in kept))
    if head and not any(one.startswith(head) for one in heads):
        flaws.append(Flaw(where="head", what=f"the reported head {head[:16]}… stands nowhere in this ledger"))
    unsigned = [row for row in kept if row.seq > signed]
    today = max((row.time_ms // DAY_MS for row in unsigned), default=0)
    return Verdict(
        device=evidence.device,
        entries=len(kept),
        since=evidence.pruned.through + 1,
        head=whole.head,
        bytes=whole.bytes,
        days_sealed=len(evidence.seals),
        signed_through=signed,
        unsigned=len(unsigned),
        overdue=sum(row.time_ms // DAY_MS < today for row in unsigned) if key is not None else 0,
        flaws=tuple(flaws),
    )


def rows_of(evidence: Evidence) -> list[Row]:
    """The rows that can be read; what cannot be is a flaw of `examine`."""
    return list(_decoded(evidence.rows, []))


def _decoded(packed: Sequence[bytes], flaws: list[Flaw]) -> Iterator[Row]:
    for place, one in enumerate(packed):
        try:
            row = ledger.unpack(one)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            flaws.append(Flaw(where=f"row {place + 1} of the file", what=f"it is no ledger row: {error}"))
            continue
        if ledger.pack(row) != one:
            flaws.append(Flaw(where=f"entry {row.seq}", what="its bytes were changed: they say the same otherwise"))
        yield row


def _pruned(pruned: Pruned, kept: int) -> Iterator[Flaw]:
    """What cannot be so of entries that gave way. Their sums are the device's word: nothing covers them any more."""
    where = "what gave way"
    if pruned.through <= 0:
        if pruned != Pruned():
            yield Flaw(where=where, what="no entry gave way, and yet there are sums or a hash of such")
        return
    if not pruned.bytes or min(pruned.bytes.values()) < 0:
        yield Flaw(where=where, what="entries gave way, and their sums are missing or below 0")
    if kept < KEPT_MIN:
        what = f"a device that makes room keeps its newest {KEPT_MIN:,} entries or more; here are {kept:,}"
        yield Flaw(where=where, what=f"entries up to {pruned.through} were taken out: {what}")


def _chain(rows: Sequence[Row], pruned: Pruned) -> Iterator[tuple[int, Flaw]]:
    """Every place at which a row does not follow from the one before: its number, and the entry that was changed."""
    expected, last = pruned.head, pruned.through
    for row in rows:
        where = f"entry {row.seq}"
        if row.seq <= last:
            what = "gave way, and is there" if row.seq <= pruned.through else "comes again, or too late"
            yield row.seq, Flaw(where=where, what=f"entry {row.seq} {what}")
        elif row.seq != last + 1:
            yield row.seq, Flaw(where=where, what=f"entries {last + 1} to {row.seq - 1} are missing")
        elif row.previous != expected:
            which = f"entry {last} was changed" if last else "the beginning was changed"
            what = f"{which}, or entry {row.seq}: the one does not follow from the other"
            yield row.seq, Flaw(where=f"entry {last}", what=what)
        expected, last = row.hash(), row.seq


def _seals(
    evidence: Evidence,
    kept: Sequence[Row],
    key: ec.EllipticCurvePublicKey | None,
    flaws: list[Flaw],
    broken_at: int | None,
) -> int:
    """Check all seals; returns the newest entry under a signature that fits.

    Args:
        broken_at: number of the first entry that does not follow from the one before; None: the chain is whole.
    """
    by_seq = {row.seq: ledger.pack(row) for row in kept}
    signed, before = 0, None
    for seal in evidence.seals:
        wrong = [*_follows(seal, before, evidence.pruned), *_covers(seal, by_seq, evidence.pruned)]
        if key is not None and not fits(seal, key):
            wrong.append("the signature is not this device's")
        before = seal
        flaws += (Flaw(where=f"seal of day {day_of(seal)}", what=what) for what in wrong)
        is_kept = evidence.pruned.through <= seal.last and (broken_at is None or broken_at > seal.last)
        if key is not None and not wrong and is_kept:
            signed = max(signed, seal.last)
    return signed


def _follows(seal: Seal, before: Seal | None, pruned: Pruned) -> Iterator[str]:
    """What does not fit between a seal and the one before. Only entries that gave way unsealed lie between two."""
    if seal.previous != (before.hash() if before is not None else ledger.GENESIS):
        yield "it does not follow from the seal before" if before is not None else "the seals before it are missing"
    last = before.last if before is not None else 0
    if seal.last < seal.first - 1 or seal.first <= last or (before is not None and seal.day <= before.day):
        yield f"it is of entries {seal.first} to {seal.last}, which do not follow those of the seal before"
    elif last + 1 < seal.first and pruned.through < seal.first - 1:
        yield f"entries {last + 1} to {seal.first - 1} are in no seal, and did not give way"


def _covers(seal: Seal, by_seq: Mapping[int, bytes], pruned: Pruned) -> Iterator[str]:
    """What a seal says of the ledger that is not so.

    Of a day whose beginning gave way the root cannot be built again. Its last entry is held to the sealed head all the
    same, and by the chain every entry before that one.
    """
    first = max(seal.first, pruned.through + 1)
    if seal.last <= pruned.through:
        if seal.last == pruned.through and seal.head != pruned.head:
            yield f"entry {seal.last}, the last that gave way, is not the one that was sealed as the last"
        return
    # The newest first: a seal may name any number, and none is counted up to that is not there.
    if seal.last not in by_seq or any(seq not in by_seq for seq in range(first, seal.last)):
        yield f"entries {first} to {seal.last} were sealed; some are missing"
        return
    found = [by_seq[seq] for seq in range(first, seal.last + 1)]
    if first == seal.first and ledger.root(found) != seal.root:
        yield f"entries {first} to {seal.last} are not those that were sealed"
    elif hashlib.sha256(by_seq[seal.last]).hexdigest() != seal.head:
        yield f"entry {seal.last} is not the one that was sealed as the last"


def _why_unsigned(evidence: Evidence) -> str:
    if evidence.seals:
        return f"no entry that is kept is signed: the newest seal ends at entry {evidence.seals[-1].last}"
    return (
        "nothing is signed yet, so nothing is proven: a device signs a day when it is over (UTC). "
        "A ledger of more than a day has lost its seals, or its device has no key"
    )


def fits(seal: Seal, key: ec.EllipticCurvePublicKey) -> bool:
    """Whether the seal was signed by the key's owner."""
    return signed_by(seal.signature, seal.signed(), key)


def signed_by(signature: bytes, words: bytes, key: ec.EllipticCurvePublicKey) -> bool:
    """Whether a signature over `words` is by the key's owner."""
    try:
        key.verify(signature, words, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        return False
    return True


def day_of(seal: Seal) -> str:
    """A seal's day as people write it."""
    import datetime

    try:
        return (datetime.date(1970, 1, 1) + datetime.timedelta(days=seal.day)).isoformat()
    except OverflowError:
        return str(seal.day)


def proof_of(evidence: Evidence, seq: int) -> Proof:
    """That an entry stands in a sealed day.

    Raises:
        EvidenceUnreadable: it is in no sealed day, or the day's rows are not all there.
    """
    for seal in evidence.seals:
        if seal.first <= seq <= seal.last:
            rows = [ledger.pack(row) for row in rows_of(evidence) if seal.first <= row.seq <= seal.last]
            if len(rows) != seal.last - seal.first + 1:
                raise EvidenceUnreadable(f"rows of {day_of(seal)} are missing", hint="ask for an older export")
            return Proof(row=rows[seq - seal.first], path=ledger.path(rows, seq - seal.first), seal=seal)
    hint = "a day is sealed when it is over (UTC), by the running agent or by `edge-agent ledger seal`"
    raise EvidenceUnreadable(f"entry {seq} is in no sealed day", hint=hint)


def sealed(evidence: Evidence, device: str, today: int, now_ms: int) -> list[Seal]:
    """Seals, unsigned, of every day that is over and has rows after the last seal, oldest first.

    Where a clock went back, rows belong to the day before them: seals cover the ledger without gaps, in its order.

    Args:
        today: days since 1970.
    """
    last = evidence.seals[-1] if evidence.seals else None
    through, previous = (last.last, last.hash()) if last is not None else (0, ledger.GENESIS)
    day = last.day + 1 if last is not None else 0
    days: dict[int, list[bytes]] = {}
    for packed in evidence.rows:
        row = ledger.unpack(packed)
        if row.seq <= max(through, evidence.pruned.through):
            continue
        day = max(day, row.time_ms // DAY_MS)
        if day >= today:
            break
        days.setdefault(day, []).append(packed)
    made: list[Seal] = []
    for number, rows in days.items():
        first, newest = ledger.unpack(rows[0]), ledger.unpack(rows[-1])
        seal = Seal(
            device=device,
            day=number,
            first=first.seq,
            last=newest.seq,
            head=newest.hash(),
            root=ledger.root(rows),
            previous=previous,
            made_ms=now_ms,
        )
        made.append(seal)
        previous = seal.hash()
    return made
