"""One policy with what it has learned: beliefs from features and scores, probabilities from beliefs, and learning.

    learner = learner_of(SquareCb(), width=64)
    p = learner.probabilities(items, context)           # float64 (n,), sums to one
    at = pick(p, uniform)                               # draw.pick: chosen with exactly p[at]
    learner.learn(items[at], reward, context)

Everything here is pure: what is random comes in as a uniform number, what is stored through `recall` and `pack`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit import greedy
from edge_agent.decide.bandit.estimates import Estimates, certain
from edge_agent.decide.bandit.forgetting import Forgetting
from firmware_configs.profile import (
    Best,
    EpsilonGreedy,
    LinThompson,
    LinUcb,
    Policy,
    SquareCb,
    Thompson,
    ThompsonGaussian,
    Threshold,
)

if TYPE_CHECKING:
    from edge_agent.decide.bandit.counts import Counts
    from models.warm_start import WarmStart

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Recall = Callable[[str], bytes | None]
"""Key within the learner → stored bytes."""


class Learner(Protocol):
    """A policy and its state.

    Attributes:
        width: columns of the context that it learns on.
        columns: of its rows; more than `width` where items have features.
    """

    width: int
    columns: int

    def beliefs(self, items: Sequence[str], context: F32 | None, scores: F32, probability: F32) -> Estimates:
        """What it believes of candidates.

        Args:
            items: n candidates.
            context: float32 (width,), the features served; None: there are none.
            scores: float32 (n,), no NaN.
            probability: float32 (n,), the scores as probabilities.
        """

    def vector(self, beliefs: Estimates) -> F64:
        """The probability of each candidate to be chosen; float64 (n,), not negative, sums to one."""

    def learn(self, item: str, reward: float, context: F32 | None, probability: float, now_ms: int) -> Sequence[str]:
        """Take in a reward.

        Args:
            reward: in [0, 1].
            context: as it was served.
            probability: the model's, as it was.
        Returns:
            Keys of what has changed and is to be stored.
        """

    def pack(self, key: str) -> bytes:
        """The stored form of what a key names."""

    def trim(self) -> None:
        """Between steps: let go of what is stored."""


class Alone:
    """A learner by itself, for simulations and tests: no store, no prior, scores only where there are some."""

    def __init__(self, policy: Policy, width: int = 0) -> None:
        """Start afresh.

        Args:
            policy: of the profile's language.
            width: columns of the context.
        """
        self.learner = learner_of(policy, width)

    def probabilities(self, items: Sequence[str], context: F32 | None = None, scores: F32 | None = None) -> F64:
        """The probability of each candidate to be chosen.

        Args:
            items: n candidates; names, not places: their order does not matter but for ties.
            context: float32 (width,).
            scores: float32 (n,), the model's probabilities; None: it has none.
        Returns:
            float64 (n,), sums to one.
        """
        own = np.zeros(len(items), np.float32) if scores is None else scores
        return self.learner.vector(self.learner.beliefs(items, context, own, own.clip(0.0, 1.0)))

    def learn(self, item: str, reward: float, context: F32 | None = None, score: float = 0.0, now_ms: int = 0) -> None:
        """Take in the reward in [0, 1] of an item that was chosen at this context."""
        self.learner.learn(item, reward, context, score, now_ms)


def learner_of(
    policy: Policy,
    width: int = 0,
    recall: Recall = lambda _key: None,
    prior: "WarmStart | None" = None,
    signature: int = 0,
) -> Learner:
    """The learner of a policy, its state taken up from the store. Only the modules that it needs are imported.

    Args:
        width: columns of the context.
        recall: key → stored bytes.
        prior: what a bundle brings.
        signature: of the columns' meaning; what was learned under another is not taken up.
    """
    match policy:
        case Thompson() | ThompsonGaussian():
            from edge_agent.decide.bandit.by_item import ByItem

            return ByItem(policy, recall, prior)
        case LinUcb() | LinThompson() | SquareCb():
            from edge_agent.decide.bandit.by_features import ByFeatures

            return ByFeatures(policy, width, recall, prior, signature)
        case Best() | Threshold() | EpsilonGreedy():
            return ByScore(policy, recall)
    raise TypeError(f"no such policy: {policy!r}")  # pragma: no cover


class ByScore:
    """The model's scores and nothing else. Rewards are counted all the same, for a policy that comes later."""

    width = columns = 0

    def __init__(self, policy: Best | Threshold | EpsilonGreedy, recall: Recall) -> None:
        self._epsilon = policy.epsilon if isinstance(policy, EpsilonGreedy) else 0.0
        self._recall = recall
        self._counts: Counts | None = None

    def beliefs(self, items: Sequence[str], context: F32 | None, scores: F32, probability: F32) -> Estimates:
        """The scores."""
        del items, context
        return certain(scores, probability)

    def vector(self, beliefs: Estimates) -> F64:
        """All on the best, but for a share ε that is uniform."""
        return greedy.mixed(beliefs.guide, self._epsilon)

    def learn(self, item: str, reward: float, context: F32 | None, probability: float, now_ms: int) -> Sequence[str]:
        """Count it."""
        del context, probability
        return self._held().learn(item, reward, now_ms)

    def pack(self, key: str) -> bytes:
        """The counts."""
        return self._held().pack(key)

    def trim(self) -> None:
        """Nothing is large."""

    def _held(self) -> "Counts":
        if self._counts is None:
            from edge_agent.decide.bandit.counts import Counts

            self._counts = Counts(Forgetting(), self._recall)
        return self._counts
