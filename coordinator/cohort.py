"""Which nodes a round asks, and when it stops waiting for them."""

import math
from collections.abc import Sequence

import numpy as np

GRACE_S = 15.0
"""Of a secret sum's stage, where nobody says another: an agent that waits looks every 2 s, Flower's own every 3 s."""


def select(nodes: Sequence[int], wanted: int, over_selection: float, dice: np.random.Generator) -> list[int]:
    """The nodes to ask: `wanted` and some more, because not all will answer.

    Args:
        nodes: ids of nodes that are online.
        wanted: reports that are hoped for; 0: everyone.
        over_selection: 0.3 asks 30 % more than wanted.
    Returns:
        Sorted ids, chosen uniformly without replacement.
    """
    ordered = sorted(nodes)
    count = math.ceil(wanted * (1.0 + over_selection)) if wanted else len(ordered)
    if count >= len(ordered):
        return ordered
    return sorted(ordered[int(n)] for n in dice.choice(len(ordered), size=count, replace=False))


def may_close(reports: int, enough: int, elapsed_s: float, deadline_s: float) -> bool:
    """Whether a round stops waiting: there are enough reports, or its time is up."""
    return reports >= enough or elapsed_s >= deadline_s


def sample(nodes: Sequence[int], rate: float, dice: np.random.Generator) -> list[int]:
    """The nodes to ask when each is asked by a coin of its own: Poisson sampling, which privacy is accounted for.

    Args:
        nodes: ids of nodes that are online.
        rate: probability of each, in (0, 1].
        dice: seeded by nothing that anybody can know: who was asked must stay a secret.
    Returns:
        Sorted ids; there may be none.
    """
    ordered = sorted(nodes)
    return [node for node, coin in zip(ordered, dice.random(len(ordered)), strict=True) if coin < rate]
