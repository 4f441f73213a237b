"""Which of several independent draws is the largest: the whole vector of probabilities, without drawing.

Thompson sampling draws one number from each candidate's posterior and takes the largest. Its propensities are what
this computes; the choice is then drawn from the vector, so that what is logged is what happened, to the last bit.
"""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def wins(cdf: F64) -> F64:
    """P(candidate i's draw is the largest).

    Args:
        cdf: float64 (n, m): each candidate's cumulative distribution at m rising points, the first column all 0 and
            the last all 1.
    Returns:
        float64 (n,), summing to one.

    The largest lies in the cell (a, b] with probability Π F(b) - Π F(a), exactly; within it, candidate i holds the
    share f_i / F_i of that (the derivative of the logarithm of the product), taken at the middle of the cell. So the
    sum over cells telescopes to one whatever the grid, and the error of a share is of second order in a cell's mass.
    """
    left, right = cdf[:, :-1], cdf[:, 1:]
    tops = cdf.prod(axis=0)
    within = tops[1:] - tops[:-1]
    share = (right - left) / np.maximum(right + left, 1e-300)
    total = share.sum(axis=0)
    per_cell = np.divide(within, total, out=np.zeros_like(within), where=total > 0.0)
    won: F64 = share @ per_cell
    won /= won.sum()
    return won
