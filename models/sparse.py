"""Some of a vector's numbers: which they are, in few bytes, or drawn alike by everyone from a public seed.

Source: Stich, Cordonnier, Jaggi 2018, "Sparsified SGD with Memory": top-k and random-k, with what was left out added to
the next update. Positions are told by the gaps between them, a byte each while gaps are below 255.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from models.errors import SpecInvalid
from models.secure_sum.masks import stream

I64 = NDArray[np.int64]
ESCAPE = 255
"""A byte of this value says that the gap is 255 longer and goes on."""


def kept(size: int, share: float) -> int:
    """How many of `size` numbers a share of them is: at least 1."""
    return min(size, max(1, round(share * size)))


def largest(vector: NDArray[np.floating], keep: int) -> I64:
    """Positions of the `keep` numbers that are largest in magnitude, ascending; of equals, some."""
    return _smallest(-np.abs(vector), keep)


def drawn(size: int, keep: int, seed: int, number: int) -> I64:
    """`keep` of `size` positions, ascending, the same on every machine.

    Args:
        seed: public, of the run.
        number: of the round.
    """
    key = hashlib.sha256(f"random-k:{seed}:{number}".encode()).digest()
    # Not a generator of numpy's: what those draw may change with its version. The position in the low bits decides
    # between equals, so that everyone decides alike.
    words = (stream(key, size, 32) << np.uint64(32)) | np.arange(size, dtype=np.uint64)
    return _smallest(words, keep)


def _smallest(values: NDArray[np.generic], keep: int) -> I64:
    return np.sort(np.argpartition(values, keep - 1)[:keep]).astype(np.int64)


def pack(positions: I64) -> bytes:
    """Ascending positions as the gaps between them."""
    gaps = np.diff(positions, prepend=-1) - 1
    escapes = gaps // ESCAPE
    ends = np.cumsum(escapes + 1) - 1
    packed = np.full(int(ends[-1]) + 1 if len(ends) else 0, ESCAPE, np.uint8)
    packed[ends] = (gaps - escapes * ESCAPE).astype(np.uint8)
    return packed.tobytes()


def unpack(packed: bytes, count: int, size: int) -> I64:
    """The positions again, int64 (count,), ascending.

    Raises:
        SpecInvalid: these are not `count` different positions below `size`.
    """
    raw = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(raw != ESCAPE)
    hint = "both sides must use the same version of the bundle"
    if len(ends) != count or (len(raw) and raw[-1] == ESCAPE):
        raise SpecInvalid(f"{len(ends)} positions were told for {count} numbers", hint=hint)
    if not count:
        return np.zeros(0, np.int64)
    sums = np.cumsum(raw.astype(np.int64))[ends]
    positions: I64 = sums + np.arange(count)
    if positions[-1] >= size:
        raise SpecInvalid(f"position {positions[-1]} of {size} numbers", hint=hint)
    return positions
