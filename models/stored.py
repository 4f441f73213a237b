"""Weights in fewer bytes: float16, or int8 with a scale for each column of a matrix.

weights.npz holds `w` as float16, or as int8 beside `w.scale`; reading it gives float32 again. Bytes on disk and on the
wire shrink, memory and speed stay: the graphs calculate in float32 (ADR 0005 keeps weights out of them).
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import SpecInvalid

F32 = NDArray[np.float32]
Storage = Literal["float32", "float16", "int8"]
_SCALE = ".scale"
_LARGEST = 127
_FLOAT16_MAX = 65_504.0


def packed(weights: Mapping[str, F32], storage: Storage) -> dict[str, NDArray[np.generic]]:
    """What weights.npz holds.

    int8 is symmetric: scale = largest absolute value of the column / 127, one column for a vector. A vector of fewer
    than 32 numbers stays float32: it saves nothing and often is a scale or an offset that everything hangs on.

    Raises:
        SpecInvalid: a weight is too large for float16.
    """
    if storage == "float32":
        return dict(weights)
    if storage == "float16":
        return {name: _half(name, value) for name, value in weights.items()}
    found: dict[str, NDArray[np.generic]] = {}
    for name, value in weights.items():
        if value.ndim < 2 and value.size < 32:
            found[name] = value
            continue
        largest = np.abs(value).max(axis=tuple(range(value.ndim - 1))) if value.ndim > 1 else np.abs(value).max()
        scale = np.asarray(np.where(largest > 0.0, largest / _LARGEST, 1.0), np.float32)
        found[name] = np.clip(np.rint(value / scale), -_LARGEST, _LARGEST).astype(np.int8)
        found[name + _SCALE] = scale
    return found


def restored(found: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Float32 again; what is neither float16 nor int8 with a scale of its own is left for the caller to judge."""
    again: dict[str, NDArray[np.generic]] = {}
    for name, value in found.items():
        scale = found.get(name + _SCALE)
        if name.endswith(_SCALE) and name.removesuffix(_SCALE) in found:
            continue
        if value.dtype == np.float16:
            again[name] = value.astype(np.float32)
        elif value.dtype == np.int8 and scale is not None and scale.shape in ((), value.shape[-1:]):
            again[name] = np.multiply(value.astype(np.float32), scale)
        else:
            again[name] = value
    return again


def storage_of(found: Mapping[str, NDArray[np.generic]]) -> Storage:
    """How the weights are held."""
    dtypes = {value.dtype for value in found.values()}
    return "int8" if np.dtype(np.int8) in dtypes else "float16" if np.dtype(np.float16) in dtypes else "float32"


def _half(name: str, value: F32) -> NDArray[np.float16]:
    if np.abs(value).max(initial=0.0) > _FLOAT16_MAX:
        raise SpecInvalid(f"parameter {name!r} has numbers above {_FLOAT16_MAX:g}", hint="use --int8, or float32")
    return value.astype(np.float16)
