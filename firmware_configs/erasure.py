"""The receipt of an erasure: what a device has deleted of one person, signed, chained, and without the person's name.

A receipt that named the person would be a trace. It holds a mark instead: HMAC-SHA-256 of the name under a nonce that
only the person's own copy holds. With both, anyone can check that a receipt is about this person; without the nonce,
nobody can find out by trying names.
"""

import hashlib
import hmac

import msgspec
from msgspec import Struct

GENESIS = "0" * 64
CONTEXT = b"edgeward erasure receipt 1\n"
"""What is signed begins with it, so that a signature for something else proves nothing here."""


class Receipt(Struct, frozen=True, kw_only=True):
    """One erasure. What is signed is everything but the signature."""

    id: str
    """32 hex digits, made by who asked."""
    number: int
    """Of this device's erasures, from 1."""
    device: str
    marks: tuple[str, ...]
    """One for each erased subject, hex."""
    erased: dict[str, int]
    """Class of data → rows deleted, or cut out of a row that is about others too."""
    left: dict[str, int]
    """Class of data → rows that still mention the subject; empty: none was found."""
    compacted: bool
    """The file was written anew and the log emptied, so that free pages hold nothing."""
    made_ms: int
    took_ms: int
    previous: str = GENESIS
    """Hash of the receipt before, hex."""
    signature: bytes = b""
    """ECDSA with SHA-384 by the device's node key (EC P-384), DER; empty: the device has no key."""

    def signed(self) -> bytes:
        """What the signature is over."""
        return CONTEXT + msgspec.msgpack.encode(msgspec.structs.replace(self, signature=b""))

    def hash(self) -> str:
        """SHA-256 (hex) over what is signed."""
        return hashlib.sha256(self.signed()).hexdigest()


class Copy(Struct, frozen=True, kw_only=True):
    """What the person gets: the receipt, and the nonce that ties it to the name."""

    receipt: Receipt
    nonce: str
    """32 hex digits; the device keeps none."""


def mark(subject: str, nonce: str) -> str:
    """How a receipt names a subject.

    Args:
        nonce: 32 hex digits.
    """
    return hmac.new(bytes.fromhex(nonce), subject.encode(), hashlib.sha256).hexdigest()
