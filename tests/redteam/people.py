"""Whom the attacks on learning are tried on: MovieLens 100K where it is at hand, made-up people otherwise."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import federated, federated_affinity, negatives
from models.datasets import find, read_ratings
from models.federated import Named, Plan
from models.federated_affinity import Personal, Shared
from models.splits import interactions
from models.zoo.affinity_recent import FACTORS

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
NIGHT = (22, 6)
"""Hours, UTC."""
ITEMS_LEAST = 10


class People(Struct, frozen=True):
    """Who touched what."""

    data: str
    items: int
    learned: tuple[I64, ...]
    """A random half of what each person touched, oldest first: what devices learn from."""
    kept_out: tuple[I64, ...]
    """The other half: touched as well, and never learned from."""
    traits: dict[str, NDArray[np.bool_]]
    """Groups that people belong to, or do not; the model is never told."""


def people(seed: int, most: int = 0, *, made_up: bool = False) -> People:
    """MovieLens' people with at least ten items, or made-up ones.

    Args:
        most: of them; 0: all.
        made_up: whether MovieLens is left aside also where it is at hand.
    """
    path = None if made_up else find("ml-100k/ratings.dat")
    dice = np.random.default_rng([seed, 1])
    if path is None:
        touched, taste = _made_up(most or 200, 400, dice)
        return _halves("made-up people of two tastes", 400, touched, {"taste": taste}, dice)
    data = interactions(read_ratings(path))
    able = [n for n, own in enumerate(data.items) if len(own) >= ITEMS_LEAST]
    able = able[: most or len(able)]
    hours = [(data.times[n] // 3_600 % 24) for n in able]
    night = np.array([((h >= NIGHT[0]) | (h < NIGHT[1])).mean() > 0.5 for h in hours])
    touched = [data.items[n] for n in able]
    return _halves("MovieLens 100K", len(data.catalogue), touched, {"mostly active from 22 to 6 h UTC": night}, dice)


def _halves(
    data: str, items: int, touched: list[I64], traits: dict[str, NDArray[np.bool_]], dice: np.random.Generator
) -> People:
    learned, kept_out = [], []
    for own in touched:
        inside = np.zeros(len(own), bool)
        inside[dice.permutation(len(own))[: len(own) // 2]] = True
        learned.append(own[inside])
        kept_out.append(own[~inside])
    counts = np.bincount(np.concatenate(kept_out), minlength=items)
    popular = np.array([np.log1p(counts[own]).mean() for own in kept_out])
    mainstream = {"mainstream taste, in what was never learned from": popular > np.median(popular)}
    return People(data, items, tuple(learned), tuple(kept_out), {**traits, **mainstream})


def _made_up(count: int, items: int, dice: np.random.Generator) -> tuple[list[I64], NDArray[np.bool_]]:
    """People of two tastes who touch 10 to 60 items, popular ones more often."""
    group = dice.random(count) < 0.5
    popular = 1.0 / np.arange(1, items + 1) ** 0.6
    tastes = [popular * np.where(np.arange(items) % 2 == taste, 3.0, 1.0) for taste in (0, 1)]
    touched = []
    for one in group:
        weight = tastes[int(one)]
        touched.append(dice.choice(items, int(dice.integers(10, 61)), replace=False, p=weight / weight.sum()))
    return touched, group


def flat(named: Named) -> F64:
    """An update as one vector: item_embedding, item_bias, place_weight end to end."""
    return np.concatenate([named[name].reshape(-1) for name in ("item_embedding", "item_bias", "place_weight")]).astype(
        np.float64
    )


def named(shared: Shared) -> Named:
    """The same by name."""
    return {
        "item_embedding": shared.item_embedding,
        "item_bias": shared.item_bias,
        "place_weight": shared.place_weight,
    }


def update_of(shared: Shared, history: I64, items: int, plan: Plan, dice: np.random.Generator) -> Named:
    """What one person's device would send who has learned nothing before: after minus before, float32.

    Args:
        dice: draws the negatives (and which interactions, above `plan.interactions_max`).
    """
    chosen = np.arange(len(history))
    if len(history) > plan.interactions_max:
        chosen = np.sort(dice.choice(len(history), plan.interactions_max, replace=False))
    pool = negatives.untouched(items, history)
    drawn = negatives.draw(pool, plan.negatives * len(chosen), dice).reshape(len(chosen), -1)
    placed = federated_affinity.layout([history], items, plan.length, [chosen])
    nobody = Personal(np.zeros((1, plan.dimensions), np.float32), np.zeros(1, np.float32))
    change, _, _ = federated_affinity.step(shared, nobody, placed, drawn, np.ones(1, np.float32), FACTORS)
    return named(change)


def warm(people: People, plan: Plan, rounds: int) -> Shared:
    """The shared part after some plain rounds of everyone's: what a round begins with in practice."""
    began = federated.start(people.items, plan)
    few = plan.__class__(
        dimensions=plan.dimensions, cohort=-(-len(people.learned) // rounds), participations=1, seed=plan.seed + 7
    )
    shared, _ = federated.train(people.learned, people.items, few, began, FACTORS)
    return shared


def auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Chance that one of the first scores higher than one of the second; a tie counts half (Mann-Whitney)."""
    both = np.concatenate([positive, negative])
    _, place, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    inside = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2.0
    return float(inside / (len(positive) * len(negative)))
