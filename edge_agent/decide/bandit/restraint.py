"""What a placement lets its policy try: a floor under each item, one under the whole choice, and a budget a day."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit import greedy
from edge_agent.decide.bandit.budget import Budget
from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.decide.decision import Held
from firmware_configs.profile import Exploration

F64 = NDArray[np.float64]


class Restraint:
    """The limits of one placement. They change the vector before anything is drawn, so propensities stay exact."""

    __slots__ = ("budget", "loss", "may", "said")

    def __init__(self, said: Exploration, budget: Budget) -> None:
        """For one decision, whose day the budget has been opened for."""
        self.said, self.budget = said, budget
        self.may = budget.may_explore(said)
        self.loss = 0.0
        """Reward that this decision's choices are expected to lose."""

    def bound(self, vector: F64, beliefs: Estimates, baseline_at: int) -> tuple[F64, Held]:
        """The vector as far as it is allowed.

        Args:
            vector: the policy's.
            beliefs: of the same candidates.
            baseline_at: what would be chosen without the policy: the model's own best.
        Returns:
            float64 (n,), sums to one; and what held it back.
        """
        best = int(beliefs.guide.argmax())
        if not self.may:
            return _only(vector, best, "budget")
        vector, held = self._floored(vector, beliefs, best)
        gaps = np.maximum(beliefs.mean[best] - beliefs.mean, 0.0)
        loss = float(vector @ gaps)
        share = self._least_greedy(loss, beliefs, best, baseline_at)
        if share > 0.0:
            vector = vector * (1.0 - share)
            vector[best] += share
            loss, held = loss * (1.0 - share), "baseline"
        if not self.budget.affords(self.said, self.loss + loss):
            return _only(vector, best, "budget")
        self.loss += loss
        return vector, held

    def _floored(self, vector: F64, beliefs: Estimates, best: int) -> tuple[F64, Held]:
        """Nothing for candidates whose lower estimate is below the floor; the best has what was theirs."""
        if not self.said.floor:
            return vector, ""
        lower = beliefs.mean - self.said.confidence * beliefs.deviation
        barred = lower < self.said.floor * beliefs.mean[best]
        barred[best] = False
        moved = float(vector[barred].sum())
        if not moved:
            return vector, ""
        vector = vector.copy()
        vector[barred] = 0.0
        vector[best] += moved
        return vector, "floor"

    def _least_greedy(self, loss: float, beliefs: Estimates, best: int, baseline_at: int) -> float:
        """The smallest share of the greedy choice with which the mixture reaches the baseline's share.

        Source: the condition of Wu et al. 2016, "Conservative Bandits", held in every decision instead of in sum.
        """
        allowed = float(beliefs.mean[best] - self.said.baseline * beliefs.mean[baseline_at])
        if not self.said.baseline or loss <= allowed or loss <= 0.0:
            return 0.0
        return 1.0 - max(allowed, 0.0) / loss


def _only(vector: F64, best: int, held: Held) -> tuple[F64, Held]:
    """The greedy choice, with probability one."""
    return greedy.one(len(vector), best), held if vector[best] < 1.0 else ""
