"""A training example: the very features that were served, and what came of it."""

import hashlib

import msgspec
from msgspec import Struct


class Example(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row for `train_step`."""

    features: dict[str, list[float]] = {}
    """Features input → its row."""
    item: str = ""
    """The candidate, for models with a catalogue."""
    label: float
    propensity: float = 1.0
    """With which the item was chosen; 1.0 for an event that is its own example."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Example)


def pack(example: Example) -> bytes:
    """The stored form."""
    return _encoder.encode(example)


def unpack(packed: bytes) -> Example:
    """The example of a stored form.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decoder.decode(packed)


def example_id(model: str, cause: str) -> str:
    """The same cause gives the same example once: an event id, or a decision id with its outcome."""
    return hashlib.sha256(f"{model}\x00{cause}".encode()).hexdigest()[:32]
