"""SquareCB: the further an estimate lies behind the best, the less often it is chosen."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit.estimates import Estimates

F64 = NDArray[np.float64]


def vector(beliefs: Estimates, gamma: float, exponent: float, optimism: float) -> F64:
    """P(other) = 1 / (n + γ · gap), the best has the rest; γ = `gamma` · (1 + rewards seen)^`exponent`.

    The gap is between optimistic estimates, mean + `optimism` · deviation: a candidate that nobody knows yet is not
    ruled out by a poor estimate. With `optimism = 0` this is the paper's policy.
    Source: Foster and Rakhlin 2020, "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles",
    algorithm 1; docs/adr/0026 for what is different.
    """
    index = beliefs.mean + optimism * beliefs.deviation
    best = int(index.argmax())
    gaps = (index[best] - index) * (gamma * (1.0 + beliefs.seen) ** exponent)
    found: F64 = 1.0 / (len(index) + gaps)
    found[best] = 0.0
    found[best] = 1.0 - found.sum()
    return found
