"""Policies of the profile language as `evaluating` asks them: how would you have chosen, with what you knew then?

They are the very learners that run on the device, begun anew and without a placement's limits on exploration.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit.learner import learner_of
from edge_agent.decide.decision import Trail
from edge_agent.decide.score import probabilities
from edge_agent.evaluating import Chooser
from edge_agent.evidence import Lesson
from firmware_configs.profile import Best, EpsilonGreedy, Policy, Threshold

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Context(Protocol):
    """Which served numbers a policy learns on."""

    width: int

    def context(self, served: Mapping[str, Sequence[float]]) -> F32 | None:
        """The numbers in order, float32 (width,); None: they were served for other features."""


class Everything:
    """All served numbers, in the order of a trail's inputs: where no bundle says which of them are names of items."""

    def __init__(self, served: Mapping[str, Sequence[float]]) -> None:
        self._widths = {name: len(row) for name, row in served.items()}
        self.width = sum(self._widths.values())

    def context(self, served: Mapping[str, Sequence[float]]) -> F32 | None:
        """See `Context`."""
        if not self.width or any(len(served.get(name, ())) != width for name, width in self._widths.items()):
            return None
        return np.concatenate([np.asarray(served[name], np.float32) for name in self._widths])


def chooser(policy: Policy, context: Context) -> Chooser:
    """The policy, knowing nothing yet."""
    match policy:
        case Best():
            return Ranking(-np.inf, 0.0)
        case Threshold(minimum=minimum):
            return Ranking(minimum, 0.0)
        case EpsilonGreedy(epsilon=epsilon):
            return Ranking(-np.inf, epsilon)
    return Learning(policy, context)


class Ranking:
    """The best score if it reaches a minimum, or with probability ε any candidate: a few words suffice to tell."""

    def __init__(self, minimum: float, epsilon: float) -> None:
        self._minimum, self._epsilon = minimum, epsilon

    def probabilities(self, trail: Trail) -> F64:
        """See `Chooser`."""
        return _placed(trail, self._vector)

    def of_taken(self, trail: Trail) -> float | None:
        """See `Chooser`. The uniform share is of all eligible, also of those that a model does not know."""
        best = next((scored for scored in trail.top if scored.eligible and not math.isnan(scored.score)), None)
        if best is None or not trail.eligible:
            return None
        own = 1.0 - self._epsilon if best.item == trail.items[0] and best.score >= self._minimum else 0.0
        return own + self._epsilon / trail.eligible

    def _vector(self, scores: F32, _items: Sequence[str]) -> F64:
        found = np.full(len(scores), self._epsilon / len(scores))
        best = int(scores.argmax())  # the first of equals, as the candidates stand in the trail
        found[best] += (1.0 - self._epsilon) * float(scores[best] >= self._minimum)
        return found

    def learn(self, trail: Trail, lesson: Lesson) -> None:
        """Nothing is learned."""


class Learning:
    """A policy that draws from probabilities, and may learn what they should be."""

    def __init__(self, policy: Policy, context: Context) -> None:
        self._context = context
        self._learner = learner_of(policy, context.width)

    def probabilities(self, trail: Trail) -> F64:
        """See `Chooser`."""
        context = self._context.context(trail.features)

        def vector(scores: F32, items: Sequence[str]) -> F64:
            beliefs = self._learner.beliefs(items, context, scores, probabilities(scores, trail.scale))
            return self._learner.vector(beliefs)

        return _placed(trail, vector)

    def of_taken(self, trail: Trail) -> float | None:
        """It goes by what it learned of every candidate."""
        del trail
        return None

    def learn(self, trail: Trail, lesson: Lesson) -> None:
        """See `Chooser`."""
        item = trail.items[0]
        context = self._context.context(trail.features)
        if self._context.width and context is None:
            return  # as on the device: other features teach nothing
        score = next(scored.score for scored in trail.top if scored.item == item)
        prior = float(probabilities(np.array([score], np.float32), trail.scale)[0])
        self._learner.learn(item, min(1.0, max(0.0, lesson.value)), context, prior, lesson.at_ms)


def _placed(trail: Trail, vector: Callable[[F32, Sequence[str]], F64]) -> F64:
    """A vector over those that may be chosen, at their places in `trail.top`."""
    scores = np.array([scored.score for scored in trail.top], np.float32)
    sound = np.flatnonzero(np.array([scored.eligible for scored in trail.top], np.bool_) & ~np.isnan(scores))
    found = np.zeros(len(scores))
    if len(sound):
        found[sound] = vector(scores[sound], [trail.top[place].item for place in sound.tolist()])
    return found
