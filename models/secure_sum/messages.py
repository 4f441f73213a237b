"""What members and server tell each other, as msgpack. Lengths are bounded: each is a stranger's word."""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from models.errors import SecureSumFailed
from models.secure_sum.noise import Noise
from models.secure_sum.ring import Ring
from models.secure_sum.shares import SHARE_BYTES

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Share = Annotated[bytes, Meta(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
Sealed = Annotated[bytes, Meta(max_length=1_024)]


class Keys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, array_like=True):
    """Stage keys, from a member."""

    sealing: Key
    """X25519: for the messages that only a neighbour may read."""
    masking: Key
    """X25519: for the masks that cancel out."""


class Directory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, array_like=True):
    """Stage shares, to a member: who takes part beside it."""

    keys: dict[int, Keys]
    """Neighbour → its keys."""
    threshold: int


class Shares(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, array_like=True):
    """Stage shares, from a member, and forwarded to its neighbours: by member, sealed."""

    sealed: dict[int, Sealed]


class Masked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, array_like=True):
    """Stage masked, from a member."""

    vector: bytes
    """`Ring.pack` of the vector and its masks."""


class Arrived(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, array_like=True):
    """Stage reveal, to a member: whose masked vectors arrived, of its neighbours."""

    members: tuple[int, ...]


class Revealed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, array_like=True):
    """Stage reveal, from a member: one share of each neighbour, never both."""

    seeds: dict[int, Share]
    """Of the own mask of a neighbour whose vector arrived."""
    keys: dict[int, Share]
    """Of the masking key of a neighbour that vanished."""


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server sends beside a stage's message: which sum it is, and how its ring is made."""

    stage: Literal["keys", "shares", "masked", "reveal"]
    context: Annotated[str, Meta(min_length=1, max_length=200)]
    member: Annotated[int, Meta(ge=0, le=1_000_000)]
    """The receiver's number in this sum."""
    members: Annotated[int, Meta(ge=0, le=1_000_000)]
    """How many were asked."""
    body: bytes = b""
    """The stage's own message, packed; empty at stage keys."""
    ring: Ring
    noise: Noise | None = None
    """What the members add themselves; None: nothing."""


Told = TypeVar("Told", Asked, Keys, Directory, Shares, Masked, Arrived, Revealed)


def pack(message: Struct) -> bytes:
    """As it crosses the wire."""
    return msgspec.msgpack.encode(message)


def unpack(packed: bytes, kind: type[Told]) -> Told:
    """What came.

    Raises:
        SecureSumFailed: it is not one.
    """
    try:
        return msgspec.msgpack.decode(packed, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SecureSumFailed(
            f"this is no {kind.__name__} message: {error}", hint="use one version of edgeward"
        ) from None
