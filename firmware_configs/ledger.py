"""The egress ledger as a document: rows chained by hash, a Merkle root a day, signed; and what can be proven with it.

A row's hash is SHA-256 over the row in msgpack, which holds the hash of the row before. A day's seal holds the root of
the Merkle tree over the day's rows (RFC 9162, 2.1: leaves and nodes are hashed apart, so that none can pass for the
other), the chain's head, and the hash of the seal before; the device signs it with the key that it was enrolled with.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

GENESIS = "0" * 64
DAY_MS = 86_400_000
CONTEXT = b"edgeward ledger seal 1\n"
"""What is signed begins with it, so that a signature for something else proves nothing here."""


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


class Pruned(Struct, frozen=True, kw_only=True):
    """What is left of rows that a device has no room to keep: their sums, and the hash that the next row names."""

    through: int = 0
    """Sequence number of the newest row that is gone."""
    head: str = GENESIS
    """Its hash, hex."""
    bytes: dict[str, int] = {}
    """Kind → bytes of the rows that are gone."""


class Seal(Struct, frozen=True, kw_only=True):
    """One day (UTC), closed. What is signed is everything but the signature."""

    device: str
    day: int
    """Days since 1970."""
    first: int
    """Sequence number of the day's first row; of rows that gave way before the day was closed, of the first kept."""
    last: int
    """Of its last row; below `first`: nothing left on that day."""
    head: str
    """Hash of the last row so far, hex."""
    root: str
    """Merkle root over the rows from `first` to `last`, hex."""
    previous: str = GENESIS
    """Hash of the seal before, hex."""
    made_ms: int
    signature: bytes = b""
    """ECDSA with SHA-384 by the device's node key (EC P-384), DER."""

    def signed(self) -> bytes:
        """What the signature is over."""
        return CONTEXT + msgspec.msgpack.encode(msgspec.structs.replace(self, signature=b""))

    def hash(self) -> str:
        """SHA-256 (hex) over what is signed."""
        return hashlib.sha256(self.signed()).hexdigest()


class Proof(Struct, frozen=True, kw_only=True):
    """That one row stands in a sealed day, without the other rows."""

    row: bytes
    """As stored, msgpack."""
    path: tuple[tuple[Literal["left", "right"], str], ...]
    """From the leaf up: on which side the sibling stands, and its hash, hex."""
    seal: Seal


def pack(row: Row) -> bytes:
    """A row as it is stored and hashed."""
    return _encoder.encode(row)


def unpack(packed: bytes) -> Row:
    """A stored row.

    Raises:
        msgspec.MsgspecError: it is no ledger row.
    """
    return _decoder.decode(packed)


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


def root(packed: Sequence[bytes]) -> str:
    """The Merkle root (hex) over rows as stored; of none, SHA-256 of nothing."""
    return _root([_leaf(one) for one in packed]).hex()


def path(packed: Sequence[bytes], place: int) -> tuple[tuple[Literal["left", "right"], str], ...]:
    """The siblings on the way from a leaf to the root.

    Args:
        place: of the row among them, from 0.
    """
    found = _path([_leaf(one) for one in packed], place)
    return tuple(("left" if is_left else "right", sibling.hex()) for is_left, sibling in found)


def proves(proof: Proof) -> bool:
    """Whether the row leads to the seal's root by the path. The seal's signature is another question."""
    try:
        reached = _leaf(proof.row)
        for side, sibling in proof.path:
            other = bytes.fromhex(sibling)
            reached = _node(other, reached) if side == "left" else _node(reached, other)
    except ValueError:
        return False
    return reached.hex() == proof.seal.root


def _leaf(packed: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + packed).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(count: int) -> int:
    """The largest power of two below the count."""
    return 1 << (count - 1).bit_length() - 1


def _root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return _node(_root(leaves[:middle]), _root(leaves[middle:]))


def _path(leaves: Sequence[bytes], place: int) -> list[tuple[bool, bytes]]:
    if len(leaves) <= 1:
        return []
    middle = _split(len(leaves))
    if place < middle:
        return [*_path(leaves[:middle], place), (False, _root(leaves[middle:]))]
    return [*_path(leaves[middle:], place - middle), (True, _root(leaves[:middle]))]
