"""A clipping norm that follows a quantile of the updates' norms, told by a noised count; its noise is in the budget.

Source: Andrew, Thakkar, McMahan, Ramaswamy 2021, "Differentially Private Learning with Adaptive Clipping", algorithm 1.
"""

import math
from typing import Annotated

from msgspec import Meta, Struct

from coordinator.errors import BudgetInvalid

NORM_MIN, NORM_MAX = 1e-9, 1e9


class Adaptive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the clipping norm is adapted."""

    quantile: Annotated[float, Meta(gt=0.0, lt=1.0)]
    """Share of the updates that are to be within the norm: γ of the paper."""
    learning_rate: Annotated[float, Meta(gt=0.0, le=2.0)]
    """η of the paper; 0.2 there."""
    count_noise: Annotated[float, Meta(gt=0.0)]
    """Standard deviation of the noise on the count, in devices: σ_b of the paper, which takes a twentieth of those
    that are expected."""


def vector_multiplier(multiplier: float, adaptive: Adaptive) -> float:
    """The update's own noise multiplier, when the round as a whole has `multiplier`: 1/z² = 1/z_Δ² + 1/(2 σ_b)².

    Raises:
        BudgetInvalid: the count alone would cost more than the round may.
    """
    left = multiplier**-2 - (2.0 * adaptive.count_noise) ** -2
    if left <= 0.0:
        raise BudgetInvalid(
            f"a count with noise {adaptive.count_noise:g} costs more than a round with multiplier {multiplier:.4g} may",
            hint=f"a count noise of {multiplier:.3g} or more, or a fixed --clip-norm",
        )
    return float(left**-0.5)


def count_weight(clip_norm: float, multiplier: float, adaptive: Adaptive) -> float:
    """What the count weighs as one more number of the vector: one device adds plus or minus this.

    With it, noise of one width on the whole vector is `count_noise` on the count and `vector_multiplier` on the rest.
    """
    return clip_norm * vector_multiplier(multiplier, adaptive) / (2.0 * adaptive.count_noise)


def next_norm(clip_norm: float, within: float, adaptive: Adaptive) -> float:
    """C · exp(-η (b - γ)): the next round's clipping norm.

    Args:
        within: noised share of the updates that were within `clip_norm`; noise may put it outside [0, 1].
    """
    moved = clip_norm * math.exp(-adaptive.learning_rate * (within - adaptive.quantile))
    return min(max(moved, NORM_MIN), NORM_MAX)
