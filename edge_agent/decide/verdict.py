"""What the rules say about the candidates of one decision."""

from functools import lru_cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.decide.decision import Fired

Mask = NDArray[np.bool_]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Verdict(Struct):
    """What the rules say about the candidates."""

    eligible: Mask
    """bool (n,)."""
    boost: F32
    """float32 (n,), added to the scores."""
    fired: list[Fired] = []
    boosted: bool = False
    """Whether `boost` holds anything but zeros."""
    narrowed: bool = False
    """Whether `eligible` holds anything but true."""
    untold: int = 0
    """Rules that applied beyond those in `fired`."""

    @property
    def count(self) -> int:
        """How many candidates are eligible."""
        return int(np.count_nonzero(self.eligible)) if self.narrowed else len(self.eligible)


@lru_cache(maxsize=64)
def untouched(count: int) -> Verdict:
    """What no rule says about `count` candidates; shared, so nothing can be written to it."""
    verdict = Verdict(np.ones(count, dtype=np.bool_), np.zeros(count, dtype=np.float32))
    verdict.eligible.setflags(write=False)
    verdict.boost.setflags(write=False)
    return verdict
