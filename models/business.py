"""A device's part of the sums that business figures are made of, bounded: one device moves them by so much at most.

A group's row holds five sums over devices, with n a device's observations in it and t the sum of theirs, each coded
z in [-1/2, 1/2] between the metric's bounds: n, t, and n², n·t, t² over the norm. The first two and the last three
are bounded to clip_norm / √2 each, so a device moves all rows together by at most clip_norm.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from firmware_configs.business import ALL, BusinessShape
from firmware_configs.measured import MetricCell

F64 = NDArray[np.float64]


def row_of(shape: BusinessShape, cells: Mapping[str, Sequence[MetricCell]]) -> F64:
    """A device's n and t in every group, (groups, 2).

    Args:
        cells: metric → what the device has added up of it.
    """
    found = np.zeros((len(shape.groups), 2))
    bounds = {one.name: (one.lower, one.upper - one.lower) for one in shape.metrics}
    for at, group in enumerate(shape.groups):
        lower, width = bounds[group.metric]
        for cell in cells.get(group.metric, ()):
            inside = cell.placement == group.placement and group.arm in (ALL, cell.arm)
            if inside and group.segment in (ALL, cell.segment):
                found[at] += (cell.n, (cell.total - cell.n * lower) / width - cell.n / 2.0)
    return found


def halves(clip_norm: float) -> tuple[float, float]:
    """The norm of a device's n and t, and what their products are told over."""
    half = clip_norm / sqrt(2.0)
    return half, half if isfinite(half) else 1.0


def bounded(row: F64, clip_norm: float) -> F64:
    """A device's part of the sums, (groups, 5): n and t of half the norm's square or less, and so their products."""
    half, scale = halves(clip_norm)
    n, t = (row * min(1.0, half / max(float(np.linalg.norm(row)), 1e-12))).T
    return np.stack([n, t, n * n / scale, n * t / scale, t * t / scale], axis=1)
