"""Named float32 tensors as bytes, for storage and for the line between learner and agent."""

from collections.abc import Mapping

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

F32 = NDArray[np.float32]


class _Tensor(Struct, frozen=True, array_like=True):
    shape: tuple[int, ...]
    data: bytes
    """float32, little-endian, C order."""


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(dict[str, _Tensor])


def pack(tensors: Mapping[str, F32]) -> bytes:
    """Tensors by name as bytes; the same tensors give the same bytes."""
    return _encoder.encode({n: _Tensor(t.shape, np.ascontiguousarray(t, "<f4").tobytes()) for n, t in tensors.items()})


def unpack(packed: bytes) -> dict[str, F32]:
    """The tensors again; float32, writable.

    Raises:
        ValueError: not the bytes that `pack` makes.
    """
    try:
        held = _decoder.decode(packed)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not packed parameters: {error}") from error
    return {name: np.frombuffer(t.data, "<f4").reshape(t.shape).astype(np.float32) for name, t in held.items()}
