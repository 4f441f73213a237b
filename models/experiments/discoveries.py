"""Many comparisons at once: which may be claimed so that, on average, at most a share α of the claims is wrong.

Sources: Benjamini and Hochberg 1995, "Controlling the False Discovery Rate"; Wang and Ramdas 2022, "False Discovery
Rate Control with E-values", which holds however the comparisons depend on each other, and at any time of looking.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def by_evidence(log_evidence: Sequence[float], alpha: float) -> NDArray[np.bool_]:
    """e-BH: claim the k comparisons with the largest e-values for the largest k with e_(k) ≥ m / (α·k).

    Args:
        log_evidence: log e-value of each comparison.
    Returns:
        bool (m,), which are claimed.
    """
    found = np.asarray(log_evidence, np.float64)
    count = len(found)
    order = np.argsort(-found, kind="stable")
    ranks = np.arange(1, count + 1)
    passes = np.flatnonzero(found[order] >= np.log(count / (alpha * ranks)))
    claimed = np.zeros(count, np.bool_)
    if len(passes):
        claimed[order[: passes[-1] + 1]] = True
    return claimed


def by_chance(p_values: Sequence[float], alpha: float) -> NDArray[np.bool_]:
    """Benjamini and Hochberg's procedure, for p-values of tests at a fixed time that do not depend negatively.

    Returns:
        bool (m,), which are claimed.
    """
    found = np.asarray(p_values, np.float64)
    count = len(found)
    order = np.argsort(found, kind="stable")
    passes = np.flatnonzero(found[order] <= alpha * np.arange(1, count + 1) / max(count, 1))
    claimed = np.zeros(count, np.bool_)
    if len(passes):
        claimed[order[: passes[-1] + 1]] = True
    return claimed
