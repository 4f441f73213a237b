"""The best estimate, with a share of the choices uniform."""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def one(count: int, place: int) -> F64:
    """All probability on one place."""
    vector = np.zeros(count)
    vector[place] = 1.0
    return vector


def mixed(index: F64, epsilon: float) -> F64:
    """P(best) = 1 - ε + ε/n, P(other) = ε/n; the best is the first of the largest index."""
    count = len(index)
    found = np.full(count, epsilon / count)
    found[index.argmax()] += 1.0 - epsilon
    return found
