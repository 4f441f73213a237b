"""A plain reward model for the direct method and DR: a shrunk mean for each action, and a ridge on what it leaves.

It is fitted on other rounds than it speaks of (cross-fitting), else its errors would go along with the rewards that
are to correct them. Source: Chernozhukov et al. 2018, "Double/debiased machine learning", section 3.
"""

import numpy as np
from msgspec import Struct

from models.offpolicy.estimators import F64, Index

STRENGTH = 10.0
"""Rounds that the overall mean counts for in an action's own."""
RIDGE = 10.0
FOLDS = 5


class RewardModel(Struct, frozen=True, kw_only=True):
    """q(x, a) = mean of the action + slope · x.

    Attributes:
        means: float64 (actions,), shrunk towards the mean of all rounds.
        centre, slope: float64 (d,), of what is known of the context and of the action in it.
        low, high: of the rewards that were seen; q stays between them.
    """

    means: F64
    centre: F64
    slope: F64
    low: float
    high: float

    def expected(self, action: Index, x: F64) -> F64:
        """q for actions (m,) and what is known of each, float64 (m, d); float64 (m,)."""
        return np.clip(self.means[action] + (x - self.centre) @ self.slope, self.low, self.high)


def fit(action: Index, x: F64, reward: F64, actions: int) -> RewardModel:
    """Fit on logged rounds.

    Args:
        action: int64 (n,) in 0 … actions - 1.
        x: float64 (n, d); d may be 0.
        reward: float64 (n,).
        actions: how many there are.
    """
    whole = float(reward.mean()) if len(reward) else 0.0
    count = np.bincount(action, minlength=actions)
    total = np.bincount(action, weights=reward, minlength=actions)
    means = (total + STRENGTH * whole) / (count + STRENGTH)
    centre = x.mean(axis=0) if len(x) else np.zeros(x.shape[1])
    spread = x - centre
    gram = spread.T @ spread + RIDGE * np.eye(x.shape[1])
    slope = np.linalg.solve(gram, spread.T @ (reward - means[action]))
    return RewardModel(
        means=means,
        centre=centre,
        slope=np.asarray(slope, np.float64),
        low=float(reward.min(initial=whole)),
        high=float(reward.max(initial=whole)),
    )


def folds(count: int, cluster: Index | None, seed: int, parts: int = FOLDS) -> Index:
    """Which fold each round belongs to, int64 (n,); a cluster stays together."""
    dice = np.random.default_rng(seed)
    if cluster is None:
        return np.asarray(dice.permutation(count) % parts, np.int64)
    own = dice.permutation(int(cluster.max()) + 1) % parts
    return np.asarray(own[cluster], np.int64)
