"""Thompson sampling from independent normal posteriors, with exact propensities."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit.contest import wins
from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.limits import CONTENDERS_MAX, GRID

F64 = NDArray[np.float64]

REACH = 5.0
"""Deviations beyond which a posterior is taken to have no mass; P(|z| > 5) = 6e-7."""
FEW = 5
"""Contenders up to which each is cut finely: the fewer there are, the fewer cells they make between them."""
_HALF = np.array([-5.0, -3.0, -2.2, -1.6, -1.05, -0.52])
_FINE = np.array([-5, -4, -3.4, -2.9, -2.5, -2.2, -1.9, -1.65, -1.4, -1.2, -1.0, -0.82, -0.65, -0.48, -0.32, -0.16])
QUANTILES, FINE_QUANTILES = (np.concatenate([half, [0.0], -half[::-1]]) for half in (_HALF, _FINE))
"""Points in deviations from the mean at which a posterior is cut into cells; ADR 0025 has what they cost."""
DEVIATION_MIN = 1e-9


def vector(beliefs: Estimates, spread: float = 1.0) -> F64:
    """P(candidate i's draw from N(mean, (spread · deviation)²) is the largest).

    Candidates that lie `REACH` deviations below another that lies as many above them have probability 0, and of more
    than `CONTENDERS_MAX` that are left, those with the highest mean + deviation are drawn from.

    Source: the posterior of Agrawal and Goyal 2013, "Thompson Sampling for Contextual Bandits with Linear Payoffs",
    taken as independent between candidates; docs/adr/0025 says why, and what it costs.
    """
    deviation = np.maximum(beliefs.deviation * spread, DEVIATION_MIN)
    among = contenders(beliefs.mean, deviation, REACH)
    found = np.zeros(len(beliefs.mean))
    if len(among) == 1:
        found[among] = 1.0
        return found
    mean, deviation = beliefs.mean[among], deviation[among]
    points = FINE_QUANTILES if len(among) <= FEW else QUANTILES
    edges = np.sort((mean[:, None] + deviation[:, None] * points).ravel())
    edges = edges[edges.searchsorted((mean - REACH * deviation).max()) :]
    if len(edges) > GRID:
        edges = edges[np.linspace(0, len(edges) - 1, GRID).astype(np.intp)]
    cdf = np.empty((len(among), len(edges) + 2))
    cdf[:, 0], cdf[:, -1] = 0.0, 1.0
    cdf[:, 1:-1] = cumulative((edges - mean[:, None]) / deviation[:, None])
    found[among] = wins(cdf)
    return found


def contenders(mean: F64, deviation: F64, reach: float) -> NDArray[np.intp]:
    """Places that may hold the largest draw, in order; at most `CONTENDERS_MAX`."""
    places = np.flatnonzero(mean + reach * deviation >= (mean - reach * deviation).max())
    if len(places) > CONTENDERS_MAX:
        best = np.argsort(-(mean + deviation)[places], kind="stable")[:CONTENDERS_MAX]
        places = np.sort(places[best])
    return places


def cumulative(z: F64) -> F64:
    """The standard normal distribution function, to 1e-7.

    Source: Abramowitz and Stegun 1964, 26.2.17.
    """
    t = 1.0 / (1.0 + 0.2316419 * np.abs(z))
    tail = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail *= 0.3989422804014327 * np.exp(-0.5 * z * z)
    return np.where(z < 0.0, tail, 1.0 - tail)
