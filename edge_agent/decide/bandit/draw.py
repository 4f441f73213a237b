"""Draws that belong to a decision: the same at every replay, and nobody without the device's key can foresee them."""

import hashlib
import hmac

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
_NONE = np.zeros(0, np.float64)


def uniforms(secret: bytes, decision_id: str, count: int) -> F64:
    """Uniform numbers in [0, 1) that belong to a decision.

    Returns:
        float64 (count,).
    Source: SHAKE-256 over HMAC-SHA-256(secret, decision id), 53 bits a number.
    """
    if not count:
        return _NONE
    key = hmac.new(secret, decision_id.encode(), hashlib.sha256).digest()
    words = np.frombuffer(hashlib.shake_256(key).digest(8 * count), dtype="<u8")
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pick(vector: F64, uniform: float) -> int:
    """The place that a uniform number falls on: place i with exactly the probability `vector[i]`.

    Args:
        vector: float64 (n,), not negative, its sum one; what has probability 0 is never drawn.
        uniform: in [0, 1).
    """
    heights = vector.cumsum()
    at = int(heights.searchsorted(uniform * heights[-1], side="right"))
    # Rounding may carry the draw past the last place that has any probability.
    return at if at < len(vector) and vector[at] > 0.0 else int(np.flatnonzero(vector)[-1])
