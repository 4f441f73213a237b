"""What a decision earned, kept beside it: `edge-agent evaluate` joins the two."""

import msgspec
from msgspec import Struct


class Earned(Struct, frozen=True, array_like=True):
    """One outcome of one item of one decision."""

    decision: str
    item: str
    metric: str
    """`reward`, or one that the profile declares."""
    value: float
    """In the metric's own unit; a reward lies in [0, 1]."""
    outcome: str
    """The word that came, such as `click`."""
    happened_ms: int
    credit: float = 1.0
    """The decision's share of the outcome."""
    by: str = ""
    """How credit was shared, such as `last-touch`; empty: the outcome named the decision, or was observed of it."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Earned)


def pack(earned: Earned) -> bytes:
    """The stored form."""
    return _encoder.encode(earned)


def unpack(packed: bytes) -> Earned:
    """The outcome of a stored form.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decoder.decode(packed)
