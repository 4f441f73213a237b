"""Whether a log can tell of a policy at all: effective sample size, the heaviest round, actions it never takes."""

import numpy as np
from msgspec import Struct

from models.offpolicy.estimators import Rounds, weights

FEW = 100.0
"""Effective rounds below which an estimate is hardly more than an anecdote."""
HEAVY = 0.05
"""Share of all weight in one round above which that round is the estimate."""
UNCOVERED = 0.01
"""Share of the evaluated policy's choices that the log can say nothing about, from which on it is said."""
OFF = 4.0
"""Standard errors by which the mean weight may miss 1."""


class Support(Struct, frozen=True, kw_only=True):
    """How much of the log bears on the evaluated policy."""

    rounds: int
    effective_rounds: float
    """(Σw)² / Σw²: so many rounds of the evaluated policy's own would tell as much. Source: Kish 1965, section 11.7."""
    matched: int
    """Rounds whose action the evaluated policy may take."""
    weight_max: float
    """Before clipping."""
    weight_mean: float
    """About 1 where propensities are right and the log covers the policy."""
    weight_error: float
    """Standard error of that mean."""
    clipped: int
    """Rounds whose weight was cut."""
    uncovered: float | None
    """Share of the evaluated policy's choices that the log never makes; None: not known."""


class Caution(Struct, frozen=True, kw_only=True):
    """A reason to trust an estimate less."""

    code: str
    text: str


def support(rounds: Rounds, clip: float | None = None) -> Support:
    """Measure it; the effective rounds are those of the clipped weights."""
    raw, used = weights(rounds), weights(rounds, clip)
    square = float((used**2).sum())
    return Support(
        rounds=len(rounds),
        effective_rounds=float(used.sum()) ** 2 / square if square > 0.0 else 0.0,
        matched=int((raw > 0.0).sum()),
        weight_max=float(raw.max()),
        weight_mean=float(raw.mean()),
        weight_error=float(raw.std(ddof=1) / np.sqrt(len(raw))) if len(raw) > 1 else 0.0,
        clipped=int((used < raw).sum()),
        uncovered=float(rounds.uncovered.mean()) if rounds.uncovered is not None else None,
    )


def cautions(rounds: Rounds, found: Support, clip: float | None = None) -> tuple[Caution, ...]:
    """What a reader must know beside the numbers, worst first."""
    told: list[Caution] = []
    if found.matched == 0:
        told.append(Caution(code="no-overlap", text="the evaluated policy takes nothing that the log took"))
        return tuple(told)
    if found.uncovered is not None and found.uncovered > UNCOVERED:
        text = (
            f"{found.uncovered:.0%} of the evaluated policy's choices are never made in this log; what they would earn "
            "is not known, and IPS counts them as 0"
        )
        told.append(Caution(code="uncovered", text=text))
    if found.effective_rounds < FEW:
        text = f"the log is worth {found.effective_rounds:.0f} rounds of this policy's own (of {found.rounds})"
        told.append(Caution(code="few-effective-rounds", text=text))
    used = weights(rounds, clip)
    share = float(used.max() / used.sum())
    if share > HEAVY:
        told.append(Caution(code="heavy-round", text=f"one round carries {share:.0%} of all weight; look at --clip"))
    miss = abs(found.weight_mean - 1.0)
    if miss > 0.02 and miss > OFF * found.weight_error:
        text = (
            f"the mean weight is {found.weight_mean:.2f} and should be 1: the log misses actions, or its propensities "
            "are wrong"
        )
        told.append(Caution(code="weights-off", text=text))
    if found.clipped:
        text = f"{found.clipped} weights were cut at {clip:g}; IPS then errs to the low side"
        told.append(Caution(code="clipped", text=text))
    return tuple(told)
