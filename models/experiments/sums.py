"""Sufficient statistics of an experiment: what a device keeps of people once they are measured, and all that it sends.

A person counts once, in one arm, with one number a metric, clipped to the metric's bounds and centred: z in [-1/2,
1/2] with -1/2 for `lower` and 1/2 for `upper`. Beside it stands w, the same metric before the experiment, coded
alike; 0 where nothing was measured then. An arm's row is

    [people, then for each metric: sum of z, z², w, w², z·w]

so rows of many devices add up, and one person moves a table by at most `person_norm` in the L2 norm.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from firmware_configs.profile import ExperimentMetric

F64 = NDArray[np.float64]
Tables = dict[int, F64]
"""Number of the allocation under which people were assigned → float64 (arms, 1 + 5 · metrics)."""
WIDTH = 5
"""Columns a metric."""
PEOPLE_MAX = 10_000_000.0
"""A device that claims more is not believed."""


def columns(metrics: int) -> int:
    """Columns of a row."""
    return 1 + WIDTH * metrics


def centred(value: float, metric: ExperimentMetric) -> float:
    """A person's number as z: clipped to the bounds, then put on [-1/2, 1/2]."""
    inside = min(max(value, metric.lower), metric.upper)
    return (inside - metric.lower) / (metric.upper - metric.lower) - 0.5


def row(outcomes: Sequence[float], before: Sequence[float]) -> list[float]:
    """What one person adds to the row of an arm.

    Args:
        outcomes: z of each metric.
        before: w of each metric; empty: nothing was measured before.
    """
    found = [1.0]
    for n, z in enumerate(outcomes):
        w = before[n] if before else 0.0
        found += (z, z * z, w, w * w, z * w)
    return found


def person_norm(metrics: int, *, before: bool) -> float:
    """The largest L2 norm of one person's row: the sensitivity of a sum over people, each of whom counts once.

    Args:
        before: whether there is a time before the experiment, so that w may differ from 0.
    """
    outcome, both = 0.25 + 0.0625, 2 * (0.25 + 0.0625) + 0.0625
    return math.sqrt(1.0 + metrics * (both if before else outcome))


def norm(tables: Mapping[int, F64]) -> float:
    """L2 norm over all tables."""
    return math.sqrt(sum(float((table * table).sum()) for table in tables.values()))


def clipped(tables: Mapping[int, F64], most: float) -> Tables:
    """The tables, scaled down together where their norm exceeds `most`: a bound on what one device can do."""
    size = norm(tables)
    scale = most / size if size > most else 1.0
    return {number: table * scale for number, table in tables.items()}


def added(parts: Sequence[Mapping[int, F64]]) -> Tables:
    """The sum of many devices' tables."""
    total: Tables = {}
    for part in parts:
        for number, table in part.items():
            total[number] = total[number] + table if number in total else table.copy()
    return total


def fault(tables: Mapping[int, F64], arms: int, metrics: int) -> str:
    """Why a device's tables cannot be true; empty when they can be.

    A sum of z over n people, each in [-1/2, 1/2], is at most n/2 in size, that of z² lies between (sum z)²/n and n/4.
    """
    for number, table in tables.items():
        if number < 0 or table.shape != (arms, columns(metrics)):
            return f"table {number} has the shape {table.shape}, not {(arms, columns(metrics))}"
        if not np.isfinite(table).all() or (table[:, 0] < 0.0).any() or (table[:, 0] > PEOPLE_MAX).any():
            return f"table {number} holds what is no count"
        people = table[:, 0]
        slack = 1e-6 * (1.0 + people)
        for n in range(metrics):
            z, zz, w, ww, zw = (table[:, 1 + WIDTH * n + k] for k in range(WIDTH))
            for first, second in ((z, zz), (w, ww)):
                too_large = (np.abs(first) > people / 2 + slack) | (second > people / 4 + slack)
                if (too_large | (second * people < first * first - slack * people)).any():
                    return f"table {number} holds sums that no people in bounds can have"
            if (np.abs(zw) > people / 4 + slack).any():
                return f"table {number} holds a product that no people in bounds can have"
    return ""
