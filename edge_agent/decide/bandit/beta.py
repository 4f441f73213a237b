"""Beta-Bernoulli Thompson sampling with exact propensities."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit.contest import wins
from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.decide.bandit.normal import contenders
from edge_agent.limits import GRID

F64 = NDArray[np.float64]

REACH = 8.0
"""Deviations, as in `normal`; a Beta's tail is longer."""
_X = (np.arange(GRID, dtype=np.float64) + 0.5) / GRID
_LOG, _LOG_REST = np.log(_X), np.log1p(-_X)


def vector(beliefs: Estimates) -> F64:
    """P(candidate i's draw from its Beta posterior is the largest), each posterior on `GRID` cells of [0, 1].

    Source: Russo et al. 2018, "A Tutorial on Thompson Sampling", section 3.
    """
    shapes = beliefs.beta
    if shapes is None:
        raise TypeError("beliefs without Beta posteriors")  # pragma: no cover
    among = contenders(beliefs.mean, beliefs.deviation, REACH)
    found = np.zeros(len(beliefs.mean))
    if len(among) == 1:
        found[among] = 1.0
        return found
    found[among] = wins(_on_grid(shapes[0, among], shapes[1, among]))
    return found


def _on_grid(a: F64, b: F64) -> F64:
    """The distribution functions of Beta(a, b) at the cells' edges; float64 (n, GRID + 1)."""
    density = np.multiply.outer(a - 1.0, _LOG)
    density += np.multiply.outer(b - 1.0, _LOG_REST)
    density -= density.max(axis=1, keepdims=True)
    np.exp(density, out=density)
    cdf = np.empty((len(a), GRID + 1))
    cdf[:, 0] = 0.0
    np.cumsum(density, axis=1, out=cdf[:, 1:])
    cdf /= cdf[:, -1:]
    return cdf
