"""Named arrays as bytes: a `.npz` that numpy reads, written the same way each time, without pickle.

Shape and dtype in a header are believed only when they account for exactly the bytes that follow.
"""

import io
import math
import tokenize
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from models import archive
from models.errors import BundleMalformed
from models.limits import ARRAY_RANK_MAX, ARRAYS_MAX

BESIDE = "npy."
"""Begins the name of an array among other values."""
BESIDE_BYTES_MAX = 1024 * 1024
DTYPES = frozenset({"<f4", "<f2", "<i8", "|i1"})
# What numpy lets through from Python's own tokenizer and parser when a header is no header.
_UNREADABLE = (
    ValueError,
    EOFError,
    SyntaxError,
    TypeError,
    OverflowError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)
_AGAIN = "fetch or build it again"


def pack(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Deterministic `.npz` of `arrays`; dtypes float32, float16, int64 or int8.

    Raises:
        TypeError: another dtype.
    """
    files: dict[str, bytes] = {}
    for name, array in arrays.items():
        if array.dtype.str not in DTYPES:
            raise TypeError(f"array {name!r} is {array.dtype}, expected float32, float16, int64 or int8")
        files[f"{name}.npy"] = write(array)
    return archive.pack(files)


def write(array: NDArray[np.generic]) -> bytes:
    """One array in the `.npy` format, as `read` takes it."""
    buffer = io.BytesIO()
    npy.write_array(buffer, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def beside(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, bytes] | None:
    """Small arrays as values to stand among the facts of one message's record; None: they are too large for that.

    In a message, Flower makes three objects of an array and one of a whole record, and each object is a call of its
    own on both ways.
    """
    if sum(array.nbytes for array in arrays.values()) > BESIDE_BYTES_MAX:
        return None
    return {BESIDE + name: write(array) for name, array in arrays.items()}


def parted(values: Mapping[str, Any]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What `beside` put among a record's values (name → `.npy` file), and the other values."""
    files = {n.removeprefix(BESIDE): v for n, v in values.items() if n.startswith(BESIDE) and isinstance(v, bytes)}
    return files, {n: v for n, v in values.items() if not n.startswith(BESIDE)}


def unpack(raw: bytes, what: str) -> dict[str, NDArray[np.generic]]:
    """Name → read-only array.

    Raises:
        BundleMalformed: not such a file, or an array that is not what its header says.
    """
    files = archive.unpack(raw, what, ARRAYS_MAX)
    return {name.removesuffix(".npy"): read(content, f"{what}: {name}") for name, content in files.items()}


def read(content: bytes, what: str) -> NDArray[np.generic]:
    """One array in the `.npy` format, read-only; nothing is allocated on a header's word.

    Raises:
        BundleMalformed: it is not what its header says, or of another dtype than float32, float16, int64 or int8.
    """
    buffer = io.BytesIO(content)
    try:
        if npy.read_magic(buffer) != (1, 0):
            raise ValueError("unknown version of the .npy format")
        shape, fortran, dtype = npy.read_array_header_1_0(buffer)
    except _UNREADABLE as error:
        raise BundleMalformed(f"{what}: {error}", hint=_AGAIN) from error
    data = memoryview(content)[buffer.tell() :]
    if fortran or dtype.str not in DTYPES or len(shape) > ARRAY_RANK_MAX or any(side < 0 for side in shape):
        raise BundleMalformed(f"{what}: dtype {dtype.str} of shape {shape} is not taken", hint=_AGAIN)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise BundleMalformed(f"{what}: {len(data)} bytes do not fill shape {shape}", hint=_AGAIN)
    return np.frombuffer(data, dtype=dtype).reshape(shape)
