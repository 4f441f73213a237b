"""The choice, and the exact probability with which it was made.

Draws are derived from the decision's id under the device's key, so a replay draws the same.
"""

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.limits import GRID
from firmware_configs.profile import Best, EpsilonGreedy, Policy, Thompson, Threshold

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Counts = Mapping[int, tuple[float, float]]
"""Candidate's place → (sum of rewards, sum of what was missing to 1)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen."""

    order: list[int]
    """Places of the slate, best first; empty when nothing qualifies."""
    propensity: float
    """Probability that `order[0]` came first, in (0, 1]; 0.0 when nothing was chosen."""


NOTHING = Choice([], 0.0)
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


def draws_needed(policy: Policy, candidates: int) -> int:
    """How many uniform numbers a policy's choice takes."""
    match policy:
        case Thompson():
            return candidates
        case EpsilonGreedy():
            return 2
        case _:
            return 0


def choose(
    policy: Policy, scores: F32, eligible: Mask | None, slate: int, counts: Counts, probability: F32, draw: F64
) -> Choice:
    """Choose among the eligible.

    Args:
        policy: the arm's or the placement's.
        scores: float32 (n,), higher is better; a NaN is never chosen.
        eligible: bool (n,); None: all.
        slate: how many places to fill.
        counts: rewards so far, for Thompson.
        probability: float32 (n,), the scores as probabilities; only Thompson reads it.
        draw: as many uniform numbers as `draws_needed` says.
    """
    if eligible is None and slate == 1 and isinstance(policy, Best) and len(scores):
        at = int(scores.argmax())  # a NaN would come first
        if not math.isnan(scores[at]):
            return Choice([at], 1.0)
    sound = scores == scores  # noqa: PLR0124 - only a NaN differs from itself
    places = np.flatnonzero(sound if eligible is None else eligible & sound)
    if not len(places):
        return NOTHING
    match policy:
        case Best():
            return Choice(_ranked(scores, places, slate), 1.0)
        case Threshold(minimum=minimum):
            best = _ranked(scores, places, slate)
            return Choice(best, 1.0) if scores[best[0]] >= minimum else NOTHING
        case EpsilonGreedy(epsilon=epsilon):
            return _epsilon_greedy(epsilon, scores, places, slate, draw)
        case Thompson(prior_strength=strength):
            return _thompson(strength, probability, places, slate, counts, draw)
    raise TypeError(f"no such policy: {policy!r}")  # pragma: no cover


def _ranked(scores: F32, places: NDArray[np.intp], slate: int) -> list[int]:
    """The best places, ties in the order of the candidates."""
    own = scores[places]
    if slate == 1:
        return [int(places[int(own.argmax())])]
    order = np.argsort(-own, kind="stable")[:slate]
    return [int(place) for place in places[order]]


def _epsilon_greedy(epsilon: float, scores: F32, places: NDArray[np.intp], slate: int, draw: F64) -> Choice:
    """P(best) = 1 - ε + ε/n, P(other) = ε/n."""
    best = _ranked(scores, places, slate)
    share = epsilon / len(places)
    if draw[0] >= epsilon:
        return Choice(best, 1.0 - epsilon + share)
    first = int(places[min(int(draw[1] * len(places)), len(places) - 1)])
    propensity = share + (1.0 - epsilon if first == best[0] else 0.0)
    return Choice([first, *(place for place in best if place != first)][:slate], propensity)


def _thompson(
    strength: float, probability: F32, places: NDArray[np.intp], slate: int, counts: Counts, draw: F64
) -> Choice:
    """Beta-Bernoulli Thompson sampling on a grid, where the probability of winning can be summed exactly.

    Each candidate's posterior Beta(s·p + rewards, s·(1-p) + missing) is put on `GRID` cells; draws come from those
    very cells, ties go to the earlier candidate, so the logged propensity is exact for what was done.
    Source: Russo et al. 2018, "A Tutorial on Thompson Sampling", section 3.
    """
    prior = np.clip(probability[places].astype(np.float64), 1e-3, 1.0 - 1e-3)
    wins = np.array([counts.get(int(place), (0.0, 0.0)) for place in places], dtype=np.float64)
    mass = _beta_on_grid(strength * prior + wins[:, 0], strength * (1.0 - prior) + wins[:, 1])
    below = np.cumsum(mass, axis=1)
    cells = (below < draw[: len(places), None]).sum(axis=1).clip(0, GRID - 1)
    order = np.lexsort((np.arange(len(places)), -cells))
    first = int(order[0])
    return Choice([int(places[n]) for n in order[:slate]], _win_probability(mass, below, first))


def _beta_on_grid(a: F64, b: F64) -> F64:
    """Beta(a, b) on the grid's midpoints, each row summing to one; float64 (n, GRID)."""
    x = (np.arange(GRID, dtype=np.float64) + 0.5) / GRID
    log_density = (a - 1.0)[:, None] * np.log(x) + (b - 1.0)[:, None] * np.log1p(-x)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    return np.asarray(density / density.sum(axis=1, keepdims=True), np.float64)


def _win_probability(mass: F64, below: F64, first: int) -> float:
    """Σ over cells: P(first there) · Π earlier P(strictly below) · Π later P(at most there)."""
    strictly = np.concatenate([np.zeros((len(mass), 1)), below[:, :-1]], axis=1)
    beaten = np.prod(strictly[:first], axis=0) * np.prod(below[first + 1 :], axis=0)
    return float(min(1.0, max(float((mass[first] * beaten).sum()), 1e-12)))
