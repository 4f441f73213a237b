"""Whether now is the moment: quiet hours, and which of the moments to come is worth waiting for."""

import math
from collections.abc import Sequence

from firmware_configs.profile import QuietHours


def quiet(hours: QuietHours | None, hour: int) -> bool:
    """Whether `hour` (0-23, local) lies in the quiet hours, which may reach past midnight."""
    if hours is None or hours.start == hours.end:
        return False
    if hours.start < hours.end:
        return hours.start <= hour < hours.end
    return hour >= hours.start or hour < hours.end


def best(chances: Sequence[float], step_s: float, discount: float) -> int:
    """The moment that is worth most; the earliest of equals.

    Args:
        chances: of the moments now, in one step, in two steps, …; NaN: not known, so never chosen but as the first.
        step_s: seconds between two.
        discount: in [0, 1], what an hour of waiting takes off.
    Returns:
        Its place in `chances`.
    """
    kept = 1.0 - discount
    worth = [chance * kept ** (n * step_s / 3_600.0) for n, chance in enumerate(chances)]
    known = [n for n, value in enumerate(worth) if not math.isnan(value)]
    return max(known, key=lambda n: (worth[n], -n)) if known else 0
