"""A device's ledger as evidence: read from its database or from a file that it gave out, and examined.

Nothing here trusts the file: rows that cannot be read, chains that break, roots and signatures that do not fit are
findings, each with its place.
"""

import contextlib
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key
from msgspec import Struct

from firmware_configs import ledger, ledger_reserve
from firmware_configs.errors import EvidenceUnreadable
from firmware_configs.ledger import DAY_MS, Proof, Pruned, Row, Seal

DATABASE = "edgeward.db"
SUFFIX = ".ledger"
SEALS = "seals"
"""Folder beside the database: one file a sealed day, `2026-11-29.seal`."""
SEAL_BYTES_MAX = 4_096
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
    """Sequence number of the newest entry under a signature that fits; 0: none."""
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
        return msgspec.msgpack.decode(path.read_bytes(), type=Evidence)
    except (sqlite3.Error, msgspec.MsgspecError, OSError) as error:
        raise EvidenceUnreadable(f"{path} cannot be read as a ledger: {error}", hint=hint) from None


def _of_database(path: Path) -> Evidence:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        rows = tuple(ledger_reserve.rows(database, path.parent))
        gone = database.execute("SELECT value FROM meta WHERE key = 'ledger.pruned'").fetchone()
    seals = read_seals(path.parent / SEALS)
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


def examine(evidence: Evidence, key: ec.EllipticCurvePublicKey | None = None, head: str = "") -> Verdict:
    """Follow the chain, build the roots again, check the signatures.

    Args:
        key: the device's; None: signatures are not looked at.
        head: what the device reported as its newest hash at some time, hex; empty: nothing to compare.
    """
    flaws: list[Flaw] = []
    rows = list(_decoded(evidence.rows, flaws))
    rows = [row for row in rows if row.seq > evidence.pruned.through]
    flaws += _chain(rows, evidence.pruned)
    signed = _seals(evidence, key, flaws)
    whole = ledger.prune(evidence.pruned, rows)
    if head and head not in {whole.head, evidence.pruned.head, *(row.previous for row in rows)}:
        flaws.append(Flaw(where="head", what=f"the reported head {head[:16]}… stands nowhere in this ledger"))
    return Verdict(
        device=evidence.device,
        entries=len(rows),
        since=evidence.pruned.through + 1,
        head=whole.head,
        bytes=whole.bytes,
        days_sealed=len(evidence.seals),
        signed_through=signed if key is not None else 0,
        flaws=tuple(flaws),
    )


def _decoded(packed: Sequence[bytes], flaws: list[Flaw]) -> Iterator[Row]:
    for place, one in enumerate(packed):
        try:
            row = ledger.unpack(one)
        except msgspec.MsgspecError as error:
            flaws.append(Flaw(where=f"row {place + 1} of the file", what=f"it is no ledger row: {error}"))
            continue
        if ledger.pack(row) != one:
            flaws.append(Flaw(where=f"entry {row.seq}", what="its bytes were changed: they say the same otherwise"))
        yield row


def _chain(rows: Sequence[Row], pruned: Pruned) -> Iterator[Flaw]:
    """Every place at which a row does not follow from the one before, with the entry that was changed."""
    expected, last = pruned.head, pruned.through
    for row in rows:
        if row.seq != last + 1:
            yield Flaw(where=f"entry {row.seq}", what=f"entries {last + 1} to {row.seq - 1} are missing")
        elif row.previous != expected:
            which = f"entry {last} was changed" if last else "the beginning was changed"
            yield Flaw(
                where=f"entry {last}", what=f"{which}, or entry {row.seq}: the one does not follow from the other"
            )
        expected, last = row.hash(), row.seq


def _seals(evidence: Evidence, key: ec.EllipticCurvePublicKey | None, flaws: list[Flaw]) -> int:
    """Check all seals; returns the newest entry under a signature that fits."""
    by_seq: dict[int, bytes] = {}
    for one in evidence.rows:
        with contextlib.suppress(msgspec.MsgspecError):
            by_seq[ledger.unpack(one).seq] = one
    signed, previous = 0, None
    for seal in evidence.seals:
        where = f"seal of day {day_of(seal)}"
        if previous is not None and seal.previous != previous.hash():
            flaws.append(Flaw(where=where, what="it does not follow from the seal before"))
        previous = seal
        found = [by_seq[seq] for seq in range(seal.first, seal.last + 1) if seq in by_seq]
        gave_way = seal.first <= evidence.pruned.through
        if not gave_way and len(found) != seal.last - seal.first + 1:
            flaws.append(Flaw(where=where, what=f"entries {seal.first} to {seal.last} were sealed; some are missing"))
        elif not gave_way and ledger.root(found) != seal.root:
            flaws.append(Flaw(where=where, what=f"entries {seal.first} to {seal.last} are not those that were sealed"))
        elif not gave_way and found and hashlib.sha256(found[-1]).hexdigest() != seal.head:
            flaws.append(Flaw(where=where, what=f"entry {seal.last} is not the one that was sealed as the last"))
        if key is not None:
            if fits(seal, key):
                signed = max(signed, seal.last)
            else:
                flaws.append(Flaw(where=where, what="the signature is not this device's"))
    return signed


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

    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=seal.day)).isoformat()


def proof_of(evidence: Evidence, seq: int) -> Proof:
    """That an entry stands in a sealed day.

    Raises:
        EvidenceUnreadable: it is in no sealed day, or the day's rows are not all there.
    """
    for seal in evidence.seals:
        if seal.first <= seq <= seal.last:
            rows = [one for one in evidence.rows if seal.first <= ledger.unpack(one).seq <= seal.last]
            if len(rows) != seal.last - seal.first + 1:
                raise EvidenceUnreadable(f"rows of {day_of(seal)} are missing", hint="ask for an older export")
            return Proof(row=rows[seq - seal.first], path=ledger.path(rows, seq - seal.first), seal=seal)
    hint = "a day is sealed when it is over (UTC), by the running agent or by `edge-agent ledger seal`"
    raise EvidenceUnreadable(f"entry {seq} is in no sealed day", hint=hint)


class Received(Struct, frozen=True, kw_only=True):
    """One line of a record of what arrived somewhere."""

    sha256: str
    bytes: int
    destination: str = "mqtt"
    topic: str = ""


class Reconciled(Struct, frozen=True, kw_only=True):
    """What arrived against what was entered."""

    matched: int
    undeclared: tuple[Received, ...]
    """Arrived, and no entry says so: it left past the ledger."""
    undeclared_bytes: int
    unheard: int
    """Entered for these destinations in this time, and not in the record: under way, expired, or the record is not
    whole."""


def reconcile(evidence: Evidence, received: Sequence[Received], since_ms: int = 0, until_ms: int = 2**62) -> Reconciled:
    """Compare the ledger with a record of what arrived. A message may arrive twice: it was entered once.

    Args:
        since_ms, until_ms: time of the entries that are compared, unix ms.
    """
    entered: Counter[tuple[str, str]] = Counter()
    destinations = {one.destination for one in received}
    known: set[tuple[str, str, int]] = set()
    for packed in evidence.rows:
        row = ledger.unpack(packed)
        known.add((row.destination, row.sha256, row.bytes))
        if row.destination in destinations and since_ms <= row.time_ms < until_ms:
            entered[row.destination, row.sha256] += 1
    undeclared = tuple(one for one in received if (one.destination, one.sha256, one.bytes) not in known)
    heard = {(one.destination, one.sha256) for one in received}
    return Reconciled(
        matched=len(received) - len(undeclared),
        undeclared=undeclared,
        undeclared_bytes=sum(one.bytes for one in undeclared),
        unheard=sum(count for which, count in entered.items() if which not in heard),
    )


def read_record(path: Path) -> list[Received]:
    """A record of what arrived: one JSON object a line, `sha256` and `bytes` of the payload, and `destination`.

    Raises:
        EvidenceUnreadable: with the line.
    """
    hint = 'write {"sha256": HEX, "bytes": N, "destination": "mqtt"} a line; see `edge-coordinator listen`'
    found = []
    try:
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                try:
                    found.append(msgspec.json.decode(line, type=Received))
                except msgspec.MsgspecError as error:
                    raise EvidenceUnreadable(f"{path}:{number}: {error}", hint=hint) from None
    except OSError as error:
        raise EvidenceUnreadable(f"{path}: {error.strerror}", hint=hint) from None
    return found


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
