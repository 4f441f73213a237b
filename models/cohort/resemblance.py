"""How much a cohort resembles real people: distances between distributions, each beside what two halves of the real
people are apart, which no cohort can be expected to undercut.

TV is the total variation distance, half the sum of differences of shares; KS the largest difference between cumulative
shares (Kolmogorov and Smirnov). Both lie in [0, 1], 0 is alike.
"""

from collections import Counter

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.cohort import households
from models.cohort.following import pairs_of
from models.cohort.people import People
from models.cohort.rhythm import DAY_S, HOUR_S, sittings_of
from models.cohort.tastes import touched

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
PAIR_PEOPLE_MIN = 3
PAIRS_DRAWN = 20_000


class Statistic(Struct, frozen=True, kw_only=True):
    """One distribution compared."""

    name: str
    measure: str
    """TV or KS."""
    value: float
    """Cohort against real people."""
    halves: float
    """One half of the real people against the other."""


def compare(real: People, cohort: People, seed: int) -> tuple[Statistic, ...]:
    """The table of statistics, of people of one catalogue."""
    order = np.random.default_rng(seed).permutation(len(real.users))
    half = len(order) // 2
    sides = real.only(np.sort(order[:half])), real.only(np.sort(order[half:]))
    apart = _told(*sides, seed)
    return tuple(
        Statistic(name=name, measure=measure, value=value, halves=apart[name][1])
        for name, (measure, value) in _told(real, cohort, seed).items()
        if name in apart
    )


def total_variation(first: F64, second: F64) -> float:
    """Of two histograms of counts, each scaled to sum to 1; in [0, 1]."""
    return float(np.abs(first / max(first.sum(), 1e-12) - second / max(second.sum(), 1e-12)).sum() / 2.0)


def kolmogorov(first: F64, second: F64) -> float:
    """The largest difference between two samples' cumulative shares; in [0, 1]."""
    every = np.sort(np.concatenate([first, second]))
    below = [np.searchsorted(np.sort(one), every, side="right") / max(1, len(one)) for one in (first, second)]
    return float(np.abs(below[0] - below[1]).max(initial=0.0))


def _told(one: People, other: People, seed: int) -> dict[str, tuple[str, float]]:
    sides = (one, other)
    items = len(one.catalogue)

    def spread(of: list[F64]) -> tuple[str, float]:
        return "KS", kolmogorov(of[0], of[1])

    def shares(of: list[F64]) -> tuple[str, float]:
        return "TV", total_variation(of[0], of[1])

    sittings = [[sittings_of(times) for times in side.times] for side in sides]
    starts = [np.array([s[0] for own in side for s in own]) for side in sittings]
    found = {
        "items": shares([np.bincount(np.concatenate(s.items), minlength=items).astype(float) for s in sides]),
        "ratings": shares(_same_values([np.concatenate(s.ratings) for s in sides])),
        "mean rating of a person": spread([np.array([own.mean() for own in s.ratings]) for s in sides]),
        "interactions of a person": spread([np.array([float(len(own)) for own in s.items]) for s in sides]),
        "sittings of a person": spread([np.array([float(len(own)) for own in side]) for side in sittings]),
        "seconds within a sitting": spread([np.concatenate([np.diff(s) for own in x for s in own]) for x in sittings]),
        "hour of the day": shares(
            [np.bincount((s % DAY_S // HOUR_S).astype(int), minlength=24).astype(np.float64) for s in starts]
        ),
        "day of the week": shares(
            [np.bincount((s // DAY_S % 7).astype(int), minlength=7).astype(np.float64) for s in starts]
        ),
        "what follows what": shares(_following(one, other)),
        "likeness of two people": spread([_likeness(side, seed) for side in sides]),
    }
    if all(any(side.household) for side in sides):
        found["people of a household"] = shares([_sizes(side) for side in sides])
        found["likeness within a household"] = spread([_within(side) for side in sides])
    return found


def _same_values(of: list[F64]) -> list[F64]:
    values = np.unique(np.concatenate(of))
    return [np.bincount(np.searchsorted(values, one), minlength=len(values)).astype(np.float64) for one in of]


def _following(one: People, other: People) -> list[F64]:
    """Counts of pairs of neighbours that a few people of either side have; the others are one cell."""
    items = len(one.catalogue)
    keys = [p.first * items + p.then for p in (pairs_of(one, 1), pairs_of(other, 1))]
    known, count = np.unique(np.concatenate(keys), return_counts=True)
    known = known[count >= PAIR_PEOPLE_MIN]
    found = []
    for key in keys:
        at = np.searchsorted(known, key)
        hit = (at < len(known)) & (known[np.minimum(at, max(0, len(known) - 1))] == key) if len(known) else key < 0
        found.append(np.append(np.bincount(at[hit], minlength=len(known)), (~hit).sum()).astype(np.float64))
    return found


def _likeness(people: People, seed: int) -> F64:
    """Jaccard similarity of drawn pairs of people."""
    dice = np.random.default_rng(seed)
    first, second = dice.integers(0, len(people.users), (2, PAIRS_DRAWN))
    apart = first != second
    return _jaccard(people, first[apart], second[apart])


def _within(people: People) -> F64:
    pairs = [
        (a, b)
        for own in households.members_of(people.household).values()
        for n, a in enumerate(own)
        for b in own[n + 1 :]
    ]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return _jaccard(people, both[:, 0], both[:, 1])


def _jaccard(people: People, first: I64, second: I64) -> F64:
    matrix = touched(people)
    shared = np.asarray(matrix[first].multiply(matrix[second]).sum(axis=1)).reshape(-1)
    size = np.array([len(own) for own in people.items], np.float64)
    return np.asarray(shared / np.maximum(size[first] + size[second] - shared, 1.0), np.float64)


def _sizes(people: People) -> F64:
    members = households.members_of(people.household)
    sizes = Counter(min(households.SIZES_MAX, len(own)) for own in members.values())
    sizes[1] += sum(not name for name in people.household)
    return np.array([float(sizes[n + 1]) for n in range(households.SIZES_MAX)])
