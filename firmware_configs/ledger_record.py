"""What arrived somewhere, held to what a device's ledger says has left."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from firmware_configs.errors import EvidenceUnreadable
from firmware_configs.ledger_evidence import Evidence, rows_of


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
    not_compared: dict[str, int]
    """Destination → entries of this time, of destinations that the record has nothing of."""


def reconcile(evidence: Evidence, received: Sequence[Received], since_ms: int = 0, until_ms: int = 2**62) -> Reconciled:
    """Compare the ledger with a record of what arrived. A message may arrive twice: it was entered once.

    Whether the ledger is whole is another question: `ledger_evidence.examine`.

    Args:
        since_ms, until_ms: time that the record covers, unix ms, until exclusive: entries of another time are not
            missed in it. What arrived is held to all entries, for it may have waited.
    """
    entered: Counter[tuple[str, str]] = Counter()
    elsewhere: Counter[str] = Counter()
    destinations = {one.destination for one in received}
    known: set[tuple[str, str, int]] = set()
    for row in rows_of(evidence):
        known.add((row.destination, row.sha256, row.bytes))
        if not since_ms <= row.time_ms < until_ms:
            continue
        if row.destination in destinations:
            entered[row.destination, row.sha256] += 1
        else:
            elsewhere[row.destination] += 1
    undeclared = tuple(one for one in received if (one.destination, one.sha256, one.bytes) not in known)
    heard = {(one.destination, one.sha256) for one in received}
    return Reconciled(
        matched=len(received) - len(undeclared),
        undeclared=undeclared,
        undeclared_bytes=sum(one.bytes for one in undeclared),
        unheard=sum(count for which, count in entered.items() if which not in heard),
        not_compared=dict(elsewhere),
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
