"""Thompson sampling over what each item brought, whatever the context."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit.counts import Counts, beta_beliefs, normal_beliefs
from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.decide.bandit.forgetting import Forgetting
from edge_agent.decide.bandit.learner import Recall
from firmware_configs.profile import Thompson, ThompsonGaussian

if TYPE_CHECKING:
    from models.warm_start import WarmStart

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class ByItem:
    """Counts by item, and posteriors about them that start from the model's score."""

    width = columns = 0

    def __init__(self, policy: Thompson | ThompsonGaussian, recall: Recall, prior: "WarmStart | None") -> None:
        self._policy = policy
        forgetting = Forgetting(policy.half_life_rewards, policy.half_life_s)
        self.counts = Counts(forgetting, recall, prior.counts) if prior is not None else Counts(forgetting, recall)

    def beliefs(self, items: Sequence[str], context: F32 | None, scores: F32, probability: F32) -> Estimates:
        """Posteriors of the items' rewards."""
        del context, scores
        policy = self._policy
        if isinstance(policy, Thompson):
            return beta_beliefs(policy.prior_strength, probability, self.counts, items)
        return normal_beliefs(policy.prior_strength, policy.noise, probability, self.counts, items)

    def vector(self, beliefs: Estimates) -> F64:
        """The probability that each is the largest draw."""
        if isinstance(self._policy, Thompson):
            from edge_agent.decide.bandit import beta

            return beta.vector(beliefs)
        from edge_agent.decide.bandit import normal

        return normal.vector(beliefs)

    def learn(self, item: str, reward: float, context: F32 | None, probability: float, now_ms: int) -> Sequence[str]:
        """Count it."""
        del context, probability
        return self.counts.learn(item, reward, now_ms)

    def pack(self, key: str) -> bytes:
        """The counts."""
        return self.counts.pack(key)

    def trim(self) -> None:
        """The whole is one row."""
