"""A small world whose true values are known: contexts, actions with given success rates, a policy that logs."""

import numpy as np
from numpy.typing import NDArray

from models.offpolicy.estimators import Fitted, Rounds

F64 = NDArray[np.float64]

RATES: F64 = np.array([[0.1, 0.5, 0.3], [0.6, 0.2, 0.4]])
"""Context × action → probability of a reward of 1."""
LOGGED: F64 = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
EVALUATED: F64 = np.array([[0.1, 0.8, 0.1], [0.7, 0.1, 0.2]])
SHARE: F64 = np.array([0.4, 0.6])
"""How often each context comes."""


def true_value(policy: F64 = EVALUATED) -> float:
    return float((SHARE[:, None] * policy * RATES).sum())


def lived(count: int, seed: int, q: F64 | None = RATES) -> Rounds:
    """A log of `count` rounds with the reward model `q`."""
    rounds, _, _ = lived_whole(count, seed, q)
    return rounds


def lived_whole(count: int, seed: int, q: F64 | None = RATES) -> tuple[Rounds, NDArray[np.int64], NDArray[np.int64]]:
    """(the rounds, contexts, actions)."""
    dice = np.random.default_rng(seed)
    context = (dice.random(count) >= SHARE[0]).astype(np.int64)
    action = (dice.random(count)[:, None] > np.cumsum(LOGGED, axis=1)[context]).sum(axis=1)
    reward = (dice.random(count) < RATES[context, action]).astype(np.float64)
    fitted = None
    if q is not None:
        fitted = Fitted(taken=q[context, action], direct=(EVALUATED * q).sum(axis=1)[context])
    rounds = Rounds(reward=reward, logged=LOGGED[context, action], evaluated=EVALUATED[context, action], fitted=fitted)
    return rounds, context, action
