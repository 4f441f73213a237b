"""The egress ledger: nothing leaves that was not entered here first.

Rows are chained by hash: a row's hash is SHA-256 over the previous row's hash and the row itself. `Entered` is
made only here, and the outbox takes nothing else.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from edge_agent.errors import BudgetSpent, EgressUndeclared
from edge_agent.limits import DAY_MS
from firmware_configs.profile import Egress

GENESIS = "0" * 64
_MAKER: Final = object()


class Row(Struct, frozen=True, kw_only=True, array_like=True):
    """One thing that left, or was about to."""

    seq: int
    kind: str
    destination: str
    bytes: int
    sha256: str
    """Of the payload, hex."""
    purposes: tuple[str, ...]
    profile: str
    """Hash of the profile that allowed it."""
    privacy: str
    """DP cost in words; empty: none applies."""
    time_ms: int
    previous: str
    """Hash of the row before, hex."""

    def hash(self) -> str:
        """SHA-256 (hex) over the row in msgpack, which holds the previous row's hash."""
        return hashlib.sha256(_encoder.encode(self)).hexdigest()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Row)


class Entered:
    """Proof that the ledger holds a row for a payload."""

    __slots__ = ("kind", "seq")

    def __init__(self, maker: object, *, seq: int, kind: str) -> None:
        if maker is not _MAKER:
            raise TypeError("Entered is made by edge_agent.egress.ledger only")
        self.seq = seq
        self.kind = kind


class Ledger:
    """The head of the chain, and what each kind may still send today."""

    def __init__(self, declared: Iterable[Egress], profile_hash: str) -> None:
        self._declared = {egress.kind: egress for egress in declared}
        self._profile = profile_hash
        self.seq = 0
        self.head = GENESIS
        self._day = 0
        self._spent: dict[str, int] = {}

    def declared(self, kind: str) -> Egress | None:
        """The profile's [[egress]] of a kind."""
        return self._declared.get(kind)  # type: ignore[call-overload,no-any-return]

    def restore(self, rows: Iterable[bytes], now_ms: int) -> None:
        """Take up the chain again from its newest rows, oldest first.

        Rows of the last day are enough: they carry the head and what was spent today.
        """
        today = now_ms // DAY_MS
        for packed in rows:
            row = _decoder.decode(packed)
            self.seq, self.head = row.seq, row.hash()
            if row.time_ms // DAY_MS == today:
                self._roll(row.time_ms)
                self._spent[row.kind] = self._spent.get(row.kind, 0) + row.bytes

    def enter(self, kind: str, *, size: int, sha256: str, now_ms: int, privacy: str = "") -> tuple[Entered, str, bytes]:
        """Enter something that is about to leave.

        Args:
            kind: an egress kind of the profile.
            size: payload bytes.
            sha256: of the payload, hex.
        Returns:
            The proof, and the row's key and value to store in the same transaction.
        Raises:
            EgressUndeclared: the profile lets nothing of this kind out.
            BudgetSpent: the kind's bytes of this day (UTC) are used up.
        """
        egress = self.declared(kind)
        if egress is None:
            raise EgressUndeclared(
                f"the profile declares no egress of kind `{kind}`",
                hint=f'add an [[egress]] with kind = "{kind}"',
            )
        self._roll(now_ms)
        spent = self._spent.get(kind, 0)
        if spent + size > egress.bytes_day_max:
            raise BudgetSpent(
                f"`{kind}` has sent {spent} of {egress.bytes_day_max} bytes today; {size} more do not fit",
                hint="wait for the next day (UTC), or raise bytes_day_max in the profile",
            )
        self._spent[kind] = spent + size
        row = Row(
            seq=self.seq + 1,
            kind=kind,
            destination=egress.destination,
            bytes=size,
            sha256=sha256,
            purposes=egress.purposes,
            profile=self._profile,
            privacy=privacy,
            time_ms=now_ms,
            previous=self.head,
        )
        packed = _encoder.encode(row)
        self.seq, self.head = row.seq, hashlib.sha256(packed).hexdigest()
        return Entered(_MAKER, seq=row.seq, kind=kind), key_of(row.seq), packed

    def _roll(self, now_ms: int) -> None:
        day = now_ms // DAY_MS
        if day != self._day:
            self._day, self._spent = day, {}


def key_of(seq: int) -> str:
    """The store's key of a row: keys sort as rows follow."""
    return f"{seq:012d}"


def unpack(packed: bytes) -> Row:
    """A stored row.

    Raises:
        msgspec.MsgspecError: it is no ledger row.
    """
    return _decoder.decode(packed)


class Pruned(Struct, frozen=True, kw_only=True):
    """What is left of rows that a device has no room to keep: their sums, and the hash that the next row names."""

    through: int = 0
    """Sequence number of the newest row that is gone."""
    head: str = GENESIS
    """Its hash, hex."""
    bytes: dict[str, int] = {}
    """Kind → bytes of the rows that are gone."""


def prune(pruned: Pruned, rows: Iterable[Row]) -> Pruned:
    """Fold the oldest rows into what was pruned before.

    Args:
        rows: those that follow, in order; what is folded already counts no second time.
    """
    total, through, head = dict(pruned.bytes), pruned.through, pruned.head
    for row in rows:
        if row.seq <= through:
            continue
        total[row.kind] = total.get(row.kind, 0) + row.bytes
        through, head = row.seq, row.hash()
    return Pruned(through=through, head=head, bytes=total)


def first_break(rows: Iterable[Row], previous: str = GENESIS) -> int | None:
    """The sequence number of the first row that does not follow from the one before; None: the chain is whole."""
    expected = previous
    last = None
    for row in rows:
        if row.previous != expected or (last is not None and row.seq != last + 1):
            return row.seq
        expected, last = row.hash(), row.seq
    return None
