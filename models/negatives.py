"""Items that a person has not touched, drawn beside those that they have: all that a device knows of dislike."""

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


def untouched(items: int, touched: I64) -> I64:
    """The rows of a catalogue of `items` that are not among `touched`, rising."""
    fresh = np.ones(items, bool)
    fresh[touched] = False
    return np.flatnonzero(fresh)


def draw(pool: I64, count: int, dice: np.random.Generator) -> I64:
    """`count` rows of `pool`, each as likely, with repeats; int64 (count,), empty when the pool is."""
    return pool[dice.integers(len(pool), size=count)] if len(pool) else pool[:0]
