"""Named arrays as bytes: a `.npz` that numpy reads, written the same way each time, without pickle.

Shape and dtype in a header are believed only when they account for exactly the bytes that follow.
"""

import io
import math
import tokenize
from collections.abc import Mapping

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from models import archive
from models.errors import BundleMalformed
from models.limits import ARRAY_RANK_MAX, ARRAYS_MAX

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
        buffer = io.BytesIO()
        npy.write_array(buffer, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
        files[f"{name}.npy"] = buffer.getvalue()
    return archive.pack(files)


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
