"""A slate drawn position after position, each with its exact probability."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_agent.decide.bandit.choice import Choice, Places
from edge_agent.decide.bandit.draw import pick
from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.decide.decision import Held
from firmware_configs.profile import Best, LinUcb, Policy, Threshold

if TYPE_CHECKING:
    from edge_agent.decide.bandit.restraint import Restraint

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def draws_needed(policy: Policy, slate: int, *, restrained: bool = False) -> int:
    """How many uniform numbers a choice takes: one a position, none where nothing is random."""
    fixed = isinstance(policy, LinUcb) and not policy.epsilon and not restrained
    return 0 if fixed or isinstance(policy, Best | Threshold) else slate


def drawn(
    vector: Callable[[Estimates], F64],
    beliefs: Estimates,
    scores: F32,
    places: Places,
    slate: int,
    draw: F64,
    restraint: "Restraint | None" = None,
) -> Choice:
    """A slate, one position after another.

    Each position is drawn from the policy's own vector over the candidates that are not yet placed, on the same
    beliefs: position k holds what the policy would choose if those above did not exist. Its propensity is that
    vector's entry, so the product over positions is the probability of the whole slate in its order.

    Args:
        vector: beliefs → float64 (n,), summing to one.
        beliefs: of the candidates at `places`.
        scores: float32 (candidates,), the model's; what would be chosen without the policy goes by it.
        places: intp (n,), n ≥ 1.
        slate: positions to fill.
        draw: a uniform number for each position; empty where nothing is random.
        restraint: limits on exploration.
    """
    order: list[int] = []
    propensities: list[float] = []
    held: Held = ""
    mean = deviation = 0.0
    explored = False
    own = beliefs
    for position in range(min(slate, len(places))):
        probability = vector(own)
        if restraint is not None:
            probability, hold = restraint.bound(probability, own, int(scores[places].argmax()))
            held = hold or held
        at = pick(probability, draw[position] if len(draw) else 0.0)
        explored = explored or at != int(own.guide.argmax())
        if not position:
            mean, deviation = float(own.mean[at]), float(own.deviation[at])
        order.append(int(places[at]))
        propensities.append(min(float(probability[at]), 1.0))  # a sum of shares may round up
        if position + 1 < slate:
            left = np.delete(np.arange(len(places)), at)
            places, own = places[left], own.of(left)
    loss = restraint.loss if restraint is not None else 0.0
    return Choice(order, tuple(propensities), mean, deviation, held, explored, loss)
