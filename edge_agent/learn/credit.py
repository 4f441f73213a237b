"""How the credit for an outcome is shared among the decisions before it. Shares add up to one, or there are none."""

from collections.abc import Sequence

from firmware_configs.profile import (
    Attribution,
    FirstTouch,
    LastTouch,
    Linear,
    PositionBased,
    TimeDecay,
)

HALVINGS_MAX = 900.0
"""Beyond, a decision's weight is nothing beside the newest; a float64 holds 2^-1022."""


def shares(model: Attribution, touches_ms: Sequence[int], outcome_ms: int) -> list[float]:
    """The credit of each touch.

    Args:
        touches_ms: when the decisions were made, unix ms, oldest first; only those that may be credited.
        outcome_ms: when the outcome happened, unix ms.
    Returns:
        As many shares in [0, 1] as touches, in their order; they add up to one, or there are none.
    """
    count = len(touches_ms)
    if not count:
        return []
    match model:
        case LastTouch():
            return _one(count, count - 1)
        case FirstTouch():
            return _one(count, 0)
        case Linear():
            return [1.0 / count] * count
        case TimeDecay(half_life_s=half_life_s):
            return _decayed(touches_ms, outcome_ms, half_life_s * 1_000.0)
        case PositionBased(first=first, last=last):
            return _by_position(count, first, last)


def _one(count: int, at: int) -> list[float]:
    return [1.0 if n == at else 0.0 for n in range(count)]


def _decayed(touches_ms: Sequence[int], outcome_ms: int, half_life_ms: float) -> list[float]:
    """Weights 2^(-age / half-life), relative to the youngest so that a long silence leaves something to share."""
    ages = [max(0, outcome_ms - touch) / half_life_ms for touch in touches_ms]
    youngest = min(ages)
    weights = [2.0 ** -min(age - youngest, HALVINGS_MAX) for age in ages]
    total = sum(weights)
    return [weight / total for weight in weights]


def _by_position(count: int, first: float, last: float) -> list[float]:
    """The stated shares at the ends, the rest alike between. Without a middle its share goes to the ends alike."""
    if count == 1:
        return [1.0]
    middle = 1.0 - first - last
    if count == 2:
        return [first + middle / 2.0, last + middle / 2.0]
    return [first, *([middle / (count - 2)] * (count - 2)), last]
