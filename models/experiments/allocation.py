"""Where the traffic goes next: losing arms are pruned, a winner is promoted, in bounded steps and within guards.

Only what may be claimed at any time of looking moves anything, so that looking often does no harm; and shares that
change do not bias the comparison, because each person's outcome is weighted by the probability that held when it came
(`effects`). The control keeps a share for as long as the experiment lasts.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from firmware_configs import designs
from firmware_configs.profile import Adaptive, Experiment
from models.experiments.analysis import Analysis, Comparison

DIGITS = 6


class Proposal(Struct, frozen=True, kw_only=True):
    """The next shares, in the order of the arms, and why; no reasons: nothing moves."""

    shares: tuple[float, ...]
    reasons: tuple[str, ...]


def propose(experiment: Experiment, analysis: Analysis, shares: Sequence[float]) -> Proposal:
    """What follows from an analysis for the next allocation.

    Args:
        shares: probability of each arm now.
    Returns:
        Shares that sum to one. Unchanged for factors (every combination is needed), without [adaptive], and while
        there is a sample-ratio mismatch.
    """
    limits, same = experiment.adaptive, Proposal(shares=tuple(shares), reasons=())
    if limits is None or experiment.factors or analysis.mismatched:
        return same
    base = designs.control(experiment)
    names = [arm.name for arm in experiment.arms]
    new, reasons = list(shares), []
    for n, found in _by_arm(experiment, analysis, base, limits).items():
        if not new[n]:
            continue
        harmed = [one for one in found if one.state == "harmed"]
        worse = [one for one in found if one.state == "worse"]
        step = new[n] if harmed else min(new[n], limits.step_max) if worse else 0.0
        if step:
            why = f"{(harmed or worse)[0].metric} is {'harmed' if harmed else 'worse'}"
            reasons.append(f"{names[n]} loses {step:.3g} of the people: {why}")
            new[n], new[base] = new[n] - step, new[base] + step
    winner = _winner(experiment, analysis, base, limits)
    if winner is not None and new[winner]:
        gained = _promote(new, winner, base, limits)
        if gained:
            reasons.append(f"{names[winner]} gains {gained:.3g} of the people: it is better, and no guard is at risk")
    return Proposal(shares=_whole(new, base), reasons=tuple(reasons)) if reasons else same


def _by_arm(
    experiment: Experiment, analysis: Analysis, base: int, limits: Adaptive
) -> Mapping[int, Sequence[Comparison]]:
    """Arm → its comparisons with the control, where both have enough people."""
    enough = [arm.people >= limits.people_min for arm in analysis.arms]
    found: dict[int, list[Comparison]] = {}
    for contrast in designs.contrasts(experiment):
        n = contrast.coefficients.index(1.0)
        if enough[n] and enough[base]:
            found[n] = [one for one in analysis.comparisons if one.contrast == contrast.name]
    return found


def _winner(experiment: Experiment, analysis: Analysis, base: int, limits: Adaptive) -> int | None:
    """The arm that is better in a goal, worse in none, with every guard safe; of several the surest."""
    best, most = None, 0.0
    for n, found in _by_arm(experiment, analysis, base, limits).items():
        goals = [one for one in found if one.role == "goal"]
        guards_hold = all(one.state == "safe" for one in found if one.role == "guard")
        better = [one for one in goals if one.state == "better"]
        if better and guards_hold and not any(one.state == "worse" for one in goals):
            evidence = max(one.evidence for one in better)
            if evidence > most:
                best, most = n, evidence
    return best


def _promote(new: list[float], winner: int, base: int, limits: Adaptive) -> float:
    """Move at most a step to the winner, from the others in proportion to what they can give."""
    spare = [
        0.0 if n == winner else max(0.0, s - (limits.control_min if n == base else 0.0)) for n, s in enumerate(new)
    ]
    total = sum(spare)
    gained = max(0.0, min(limits.step_max, limits.share_max - new[winner], total))
    if total:
        for n, some in enumerate(spare):
            new[n] -= gained * some / total
        new[winner] += gained
    return gained


def _whole(shares: Sequence[float], base: int) -> tuple[float, ...]:
    """Rounded, so that every device computes with the very same numbers; the control takes what rounding leaves."""
    rounded = [round(share, DIGITS) for share in shares]
    rounded[base] = round(1.0 - sum(share for n, share in enumerate(rounded) if n != base), DIGITS)
    return tuple(rounded)
