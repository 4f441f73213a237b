"""The highest upper bound of what a candidate may be worth."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.decide.bandit.greedy import mixed

F64 = NDArray[np.float64]


def vector(beliefs: Estimates, alpha: float, epsilon: float) -> F64:
    """All on the largest mean + α · deviation, but for a share ε that is uniform.

    With ε = 0 every choice has probability one: it explores, yet its log says nothing about what was not chosen.
    Source: Li et al. 2010, "A Contextual-Bandit Approach to Personalized News Article Recommendation", algorithm 1.
    """
    return mixed(beliefs.mean + alpha * beliefs.deviation, epsilon)
