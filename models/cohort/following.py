"""What comes after what: which items people went on to, within a few places, and how often they follow at all.

A next item is either drawn from the person's taste or follows one of the last few. The shares of the two, and of the
places back, are fitted by expectation maximisation on counts from which the person's own are taken away (deleted
estimation: Jelinek and Mercer 1980), so that nobody's own order speaks for following. What fewer than k people did is
not kept.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.cohort.people import People

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
PLACES = 5
"""Places that a next item may follow."""
FADE = 2.0
"""Places after which a pair counts less by e."""
STEPS = 20
TINY = 1e-12


class Following(Struct, frozen=True, kw_only=True):
    """Pairs of items and shares of ways to go on."""

    start: I64
    """(items + 1,): the followers of item a stand at start[a] … start[a + 1]."""
    follower: I64
    """(pairs,) rows of the catalogue."""
    weight: F64
    """(pairs,), those of one item sum to 1."""
    ways: F64
    """(1 + PLACES,): shares of taste, and of following the last item, the one before, …"""


class Pairs(Struct, frozen=True, kw_only=True):
    """Every pair of places within reach, of everybody."""

    person: I64
    first: I64
    then: I64
    place: I64
    """Places between, less one: 0 is the very next."""
    event: I64
    """Number of the interaction that `then` is."""


def pairs_of(people: People, places: int = PLACES) -> Pairs:
    """All pairs, each (n,)."""
    counts = np.array([len(own) for own in people.items], np.int64)
    flat = np.concatenate([*people.items, np.zeros(0, np.int64)])
    person = np.repeat(np.arange(len(counts)), counts)
    position = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    parts = []
    for place in range(places):
        event = np.flatnonzero(position > place)
        earlier = event - 1 - place
        parts.append((person[event], flat[earlier], flat[event], np.full(len(event), place, np.int64), event))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Pairs(person=columns[0], first=columns[1], then=columns[2], place=columns[3], event=columns[4])


def fit(people: People, taste: F64, k_min: int) -> Following:
    """Learn who follows whom.

    Args:
        taste: probability of each interaction under its person's own taste, in the order of `people.items`, (n,).
        k_min: people who must have gone from one item to another.
    """
    items = len(people.catalogue)
    pairs = pairs_of(people)
    key = pairs.first * items + pairs.then
    found, which, people_of_pair = np.unique(key, return_inverse=True, return_counts=True)
    told = np.exp(-pairs.place / FADE)
    weight: F64 = np.bincount(which, told, len(found)).astype(np.float64)
    kept = people_of_pair >= k_min
    row = found // items
    mass: F64 = np.bincount(row[kept], weight[kept], items).astype(np.float64)
    ways = _ways(pairs, which, told, weight, people_of_pair, mass, taste, k_min)
    counts = np.bincount(row[kept], minlength=items)
    return Following(
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        follower=(found[kept] % items).astype(np.int64),
        weight=weight[kept] / np.maximum(mass[row[kept]], TINY),
        ways=ways,
    )


def _ways(pairs: Pairs, which: I64, told: F64, weight: F64, number: I64, mass: F64, taste: F64, k_min: int) -> F64:
    """Shares of taste and of each place, by expectation maximisation on deleted counts."""
    with_others = number[which] - 1 >= k_min
    others = np.where(with_others, weight[which] - told, 0.0)
    # What the person's own pairs put into the row of the first item.
    kept = number[which] >= k_min
    code = pairs.person * (int(pairs.first.max(initial=0)) + 1) + pairs.first
    _, group = np.unique(code, return_inverse=True)
    own = np.bincount(group, told * kept)[group] if len(group) else np.zeros(0)
    chance = others / np.maximum(mass[pairs.first] - own, 1.0)
    likelihood = np.zeros((len(taste), 1 + PLACES))
    likelihood[:, 0] = taste
    likelihood[pairs.event, 1 + pairs.place] = np.minimum(chance, 1.0)
    ways = np.full(1 + PLACES, 1.0 / (1 + PLACES))
    for _ in range(STEPS):
        part = likelihood * ways
        part /= np.maximum(part.sum(axis=1, keepdims=True), TINY)
        ways = part.mean(axis=0)
        ways = ways / max(float(ways.sum()), TINY)
    return np.asarray(ways, np.float64)
