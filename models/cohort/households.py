"""Who lives together: how many, and how alike their tastes are; where the data says who lives with whom.

A member shares the household's taste with a chance whose square is the correlation of two members' tastes, and has one
of their own otherwise. So pairs are as alike as real ones and each single person is drawn as if living alone.
"""

from collections import Counter
from itertools import combinations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SIZES_MAX = 8
"""Larger households count as this large."""
PAIRS_MIN = 20
"""Pairs of people below which nothing is said of how alike they are."""


class Households(Struct, frozen=True, kw_only=True):
    """What is known of households; without data everybody lives alone."""

    size: F64
    """(SIZES_MAX,): share of households with 1, 2, … people."""
    alike: float
    """Correlation of two members' tastes, in [0, 1)."""


def members_of(household: tuple[str, ...]) -> dict[str, list[int]]:
    """Household → numbers of its people; people of no household are left out."""
    found: dict[str, list[int]] = {}
    for number, name in enumerate(household):
        if name:
            found.setdefault(name, []).append(number)
    return found


def fit(household: tuple[str, ...], mixtures: F64, k_min: int) -> Households:
    """Learn sizes and likeness.

    Args:
        household: of each person; empty: lives alone.
        mixtures: (people, topics) of each person.
        k_min: sizes of fewer households than this are left out.
    """
    members = members_of(household)
    sizes = Counter(min(SIZES_MAX, len(one)) for one in members.values())
    sizes[1] += sum(not name for name in household)
    table = np.array([float(sizes[n + 1]) if sizes[n + 1] >= k_min else 0.0 for n in range(SIZES_MAX)])
    if not table.sum():
        table[0] = 1.0
    return Households(size=table / table.sum(), alike=likeness(members, mixtures))


def likeness(members: dict[str, list[int]], mixtures: F64) -> float:
    """Correlation of two members' mixtures about the mean of everybody, in [0, 0.99]."""
    pairs = [pair for own in members.values() for pair in combinations(own, 2)]
    if len(pairs) < PAIRS_MIN:
        return 0.0
    off = mixtures - mixtures.mean(axis=0)
    spread = float((off * off).sum(axis=1).mean())
    together = float(np.mean([off[a] @ off[b] for a, b in pairs]))
    return float(np.clip(together / max(spread, 1e-12), 0.0, 0.99))


def draw(found: Households, people: int, dice: np.random.Generator) -> I64:
    """Number of the household of each of so many new people, rising, (people,)."""
    homes: list[int] = []
    number = 0
    while len(homes) < people:
        homes += [number] * int(1 + dice.choice(SIZES_MAX, p=found.size))
        number += 1
    return np.array(homes[:people], np.int64)
