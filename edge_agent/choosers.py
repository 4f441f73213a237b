"""Policies of the profile language as `evaluating` asks them: how would you have chosen, with what you knew then?"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.decision import Trail
from edge_agent.errors import PolicyMalformed
from edge_agent.evaluating import Chooser
from edge_agent.evidence import Round
from firmware_configs.profile import Best, EpsilonGreedy, Policy, Threshold

F64 = NDArray[np.float64]


def chooser(policy: Policy) -> Chooser:
    """The policy, knowing nothing yet.

    Raises:
        PolicyMalformed: the log does not hold what this policy chooses by.
    """
    match policy:
        case Best():
            return Unlearning(_best)
        case Threshold(minimum=minimum):
            return Unlearning(lambda scores: _best(scores) if scores.max(initial=-np.inf) >= minimum else 0.0 * scores)
        case EpsilonGreedy(epsilon=epsilon):
            return Unlearning(lambda scores: (1.0 - epsilon) * _best(scores) + epsilon / len(scores))
    raise PolicyMalformed(f"{type(policy).__name__} cannot be evaluated from a log", hint="name another policy")


class Unlearning:
    """A policy that goes by the scores of the eligible alone."""

    def __init__(self, of_scores: Callable[[F64], F64]) -> None:
        self._of_scores = of_scores

    def probabilities(self, trail: Trail) -> F64:
        """See `Chooser`."""
        scores = np.array([scored.score for scored in trail.top])
        sound = np.array([scored.eligible for scored in trail.top], np.bool_) & ~np.isnan(scores)
        found = np.zeros(len(scores))
        if sound.any():
            found[sound] = self._of_scores(scores[sound])
        return found

    def learn(self, one: Round) -> None:
        """Nothing is learned."""


def _best(scores: F64) -> F64:
    """All on the best, the first of equals, as the candidates stand in the trail."""
    found = np.zeros(len(scores))
    found[int(scores.argmax())] = 1.0
    return found
