"""What was chosen, and the choice that leaves nothing to chance."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.decide.decision import Held

F32 = NDArray[np.float32]
Places = NDArray[np.intp]


class Choice(Struct):
    """What was chosen."""

    order: list[int]
    """Places of the slate, best first; empty when nothing qualifies."""
    propensities: tuple[float, ...]
    """Probability of each position's item given the items above it, in (0, 1]."""
    mean: float = 0.0
    """Expected reward of the first item, for policies that estimate one."""
    deviation: float = 0.0
    """Its standard deviation."""
    held: Held = ""
    """What held exploration back."""
    explored: bool = False
    """Whether any position holds something else than the greedy choice."""
    loss: float = 0.0
    """Reward that the choice was expected to lose against the greedy one."""
    prior: tuple[float, ...] = ()
    """The model's probabilities of the items in order, where the policy learns their correction."""

    @property
    def propensity(self) -> float:
        """Of the first item; 0.0 when nothing was chosen."""
        return self.propensities[0] if self.propensities else 0.0


NOTHING = Choice([], ())


def sound(scores: F32, eligible: NDArray[np.bool_] | None) -> Places:
    """Places of the candidates that may be chosen: those that are eligible and have a score."""
    numbers = scores == scores  # noqa: PLR0124 - only a NaN differs from itself
    return np.flatnonzero(numbers if eligible is None else eligible & numbers)


def ranked(scores: F32, places: Places, slate: int, minimum: float = -np.inf) -> Choice:
    """The best scores, ties in the order of the candidates; nothing if the best is below `minimum`."""
    own = scores[places]
    first = [int(own.argmax())] if slate == 1 else np.argsort(-own, kind="stable")[:slate]
    order: list[int] = places[first].tolist()
    return Choice(order, (1.0,) * len(order)) if scores[order[0]] >= minimum else NOTHING
