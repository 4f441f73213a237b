"""What is believed of each candidate: the reward that it would bring, and how far that may be off."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Estimates(NamedTuple):
    """Beliefs about n candidates. A policy's probabilities follow from these and nothing else."""

    mean: F64
    """float64 (n,): the expected reward."""
    deviation: F64
    """float64 (n,): its standard deviation; 0: the policy keeps none."""
    beta: F64 | None = None
    """float64 (2, n): the two shapes of Beta posteriors, where beliefs are such."""
    seen: float = 0.0
    """Rewards that went into the beliefs, of all candidates together."""
    scores: F64 | None = None
    """float64 (n,): what the greedy choice goes by, where that is not the mean."""

    @property
    def guide(self) -> F64:
        """What the greedy choice goes by."""
        return self.mean if self.scores is None else self.scores

    def of(self, places: NDArray[np.intp]) -> "Estimates":
        """Those of some candidates."""
        beta = None if self.beta is None else self.beta[:, places]
        scores = None if self.scores is None else self.scores[places]
        return Estimates(self.mean[places], self.deviation[places], beta, self.seen, scores)


def certain(scores: F32, probability: F32) -> Estimates:
    """Scores taken as they are, and as what they promise; infinite ones as the largest finite numbers."""
    held = np.nan_to_num(scores.astype(np.float64), nan=0.0)
    return Estimates(probability.astype(np.float64), np.zeros(len(held)), None, 0.0, held)
