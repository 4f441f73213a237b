"""Where the newest window of a drift detector lies in what was usual for this device, without saying what was usual.

A value's rank in the device's own reference is told, and no value: while nothing changes a tenth of the window lies in
each tenth of the reference, whatever is measured. So devices whose values differ can be added up.
Source: the relative distribution of Handcock & Morris 1999, "Relative Distribution Methods in the Social Sciences",
chapter 2.
"""

from edge_agent.shift_tests import Binned
from firmware_configs.fleet_drift import TENTHS


def tenths(counts: Binned) -> list[float] | None:
    """Shares of the newest whole window, by tenth of the reference.

    A bin covers as many ranks as it has values of the reference; what falls into it may lie anywhere there. So values
    that are often alike, which make wide bins, change nothing as long as they stay as frequent.

    Returns:
        TENTHS shares whose sum is one; None: no reference is learnt, or no window has been whole yet.
    """
    whole, size = sum(counts.reference), sum(counts.last)
    if not whole or not size:
        return None
    shares, low = [0.0] * TENTHS, 0
    for was, now in zip(counts.reference, counts.last, strict=True):
        high = low + was
        if now:
            _spread(shares, TENTHS * low / whole, TENTHS * high / whole, now / size)
        low = high
    return shares


def _spread(shares: list[float], low: float, high: float, share: float) -> None:
    """Put a share of the window between two ranks, in tenths."""
    if high <= low:  # below all of the reference
        shares[min(int(low), TENTHS - 1)] += share
        return
    for cell in range(int(low), TENTHS):
        within = min(high, cell + 1.0) - max(low, float(cell))
        if within <= 0.0:
            return
        shares[cell] += share * within / (high - low)
