"""IPS, SNIPS, the direct method and doubly robust, each as a ratio of two sums over the rounds of a log.

Writing an estimator as Σ numerator / Σ denominator makes its value, its error and its resampling one piece of code.

Sources: Horvitz and Thompson 1952, "A Generalization of Sampling Without Replacement From a Finite Universe" (IPS);
Swaminathan and Joachims 2015, "The Self-Normalized Estimator for Counterfactual Learning" (SNIPS); Dudík, Langford and
Li 2011, "Doubly Robust Policy Evaluation and Learning" (direct method, DR).
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Index = NDArray[np.int64]


class Fitted(Struct, frozen=True, kw_only=True):
    """What a reward model q(x, a) says of each round.

    Attributes:
        taken: float64 (n,), q of the action that was taken.
        direct: float64 (n,), Σ over actions of π(a | x) · q(x, a), π the evaluated policy.
    """

    taken: F64
    direct: F64


class Rounds(Struct, frozen=True, kw_only=True):
    """A log as one policy's evaluation needs it: one row a decision, whatever was chosen among.

    Attributes:
        reward: float64 (n,), of the action that was taken.
        logged: float64 (n,) in (0, 1], the probability with which the log's policy took it.
        evaluated: float64 (n,) in [0, 1], the probability that the evaluated policy gives to that same action.
        fitted: what a reward model says; None: there is none, so no direct method and no DR.
        uncovered: float64 (n,) in [0, 1], the evaluated policy's probability of actions that the log never takes there.
        cluster: int64 (n,) in 0 … k-1, which rounds belong together (a person's); None: each stands alone.
    """

    reward: F64
    logged: F64
    evaluated: F64
    fitted: Fitted | None = None
    uncovered: F64 | None = None
    cluster: Index | None = None

    def __post_init__(self) -> None:
        columns = [self.logged, self.evaluated, self.uncovered, self.cluster]
        columns += [self.fitted.taken, self.fitted.direct] if self.fitted is not None else []
        if not len(self.reward) or any(c is not None and c.shape != self.reward.shape for c in columns):
            raise ValueError("a log has at least one round, and columns of one length")
        if not bool(((self.logged > 0.0) & (self.logged <= 1.0)).all()):
            raise ValueError("the log's propensities lie in (0, 1]")
        if not bool(((self.evaluated >= 0.0) & (self.evaluated <= 1.0 + 1e-9)).all()):
            raise ValueError("the evaluated policy's probabilities lie in [0, 1]")

    def __len__(self) -> int:
        return len(self.reward)


class Terms(Struct, frozen=True, kw_only=True):
    """An estimator over the rounds of a log: its value is Σ numerator / Σ denominator.

    Attributes:
        numerator, denominator: float64 (n,).
        mean: whether the denominator is 1 throughout, so that the value is a plain mean of independent terms.
    """

    numerator: F64
    denominator: F64
    mean: bool

    @property
    def value(self) -> float:
        """NaN where nothing is left to divide by: the evaluated policy takes nothing that the log took."""
        total = float(self.denominator.sum())
        return float(self.numerator.sum()) / total if total > 0.0 else float("nan")


def weights(rounds: Rounds, clip: float | None = None) -> F64:
    """How much more often the evaluated policy takes the logged action than the log's policy did.

    Args:
        rounds: the log.
        clip: largest weight; it takes variance away and brings bias in, downwards for rewards above 0. None: unclipped.
    Returns:
        float64 (n,), at least 0; its mean is 1 in expectation where the log covers the evaluated policy.
    Source of clipping: Ionides 2008, "Truncated Importance Sampling".
    """
    found = rounds.evaluated / rounds.logged
    return found if clip is None else np.minimum(found, clip)


def on_policy(rounds: Rounds) -> Terms:
    """What the log's own policy earned: the plain mean."""
    return _mean(rounds.reward.astype(np.float64))


def ips(rounds: Rounds, clip: float | None = None) -> Terms:
    """Inverse propensity score: unbiased where every action that the evaluated policy may take could be logged."""
    return _mean(weights(rounds, clip) * rounds.reward)


def snips(rounds: Rounds, clip: float | None = None) -> Terms:
    """Self-normalised IPS: divided by the sum of weights instead of n. Biased by O(1/n), steadier, and it moves along
    when a constant is added to every reward."""
    weight = weights(rounds, clip)
    return Terms(numerator=weight * rounds.reward, denominator=weight, mean=False)


def direct(fitted: Fitted) -> Terms:
    """The reward model's own word (DM), as good or bad as that model."""
    return _mean(fitted.direct)


def doubly_robust(rounds: Rounds, fitted: Fitted, clip: float | None = None) -> Terms:
    """The reward model, corrected by the weighted error of what was logged (DR): unbiased when either is right."""
    return _mean(fitted.direct + weights(rounds, clip) * (rounds.reward - fitted.taken))


def _mean(terms: F64) -> Terms:
    return Terms(numerator=terms, denominator=np.ones(len(terms)), mean=True)
