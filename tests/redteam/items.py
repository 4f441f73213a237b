"""Which items did this person touch? Asked of one update, as the coordinator (or the sum's reader) gets it.

The model is a sparse one: a step moves the bias of an item that was touched up, and of one that was drawn as a
negative down. So the sign of a bias is the answer, and needs no training. Where noise or others' updates are in the
way, items are ranked by that number, and the attacker is told how many to name: precision then equals recall. The
informed attacker also knows how popular each item is, and how much weight that number deserves, from the messages of
people whose items it knows (Fisher's discriminant). Baseline: popularity alone, without seeing anything of this person.

Source of the leak: Melis et al. 2019, "Exploiting Unintended Feature Leakage in Collaborative Learning", section 4.1.
"""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.learn.update import dequantise, make_update
from models import sparse
from models.federated import Named, Plan
from models.federated_affinity import Shared
from tests.redteam.people import People, flat, named, update_of, warm

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
KNOWN = 40
"""People whose items the informed attacker knows."""
Seen = Callable[[int, np.random.Generator], F64]
"""(person, dice) → the items' biases as the attacker sees them, (items,)."""


class Leak(Struct, frozen=True):
    """What the attack got, averaged over people."""

    by_sign_precision: float
    by_sign_recall: float
    top_precision: float
    """Of as many items as the person touched: also the recall."""
    informed_precision: float
    """The same of the informed attacker."""


class Target:
    """One round's start, and everyone's update from it."""

    def __init__(self, people: People, plan: Plan, seed: int, rounds: int = 10) -> None:
        self.people, self.plan, self.seed = people, plan, seed
        self.shared: Shared = warm(people, plan, rounds)
        self._made: dict[int, Named] = {}

    def raw(self, person: int) -> Named:
        """Person's update before the device packs it."""
        if person not in self._made:
            dice = np.random.default_rng([self.seed, 2, person])
            learned = self.people.learned[person]
            self._made[person] = update_of(self.shared, learned, self.people.items, self.plan, dice)
        return self._made[person]

    def packed(self, person: int, clip: float, noise: float, top_k: float, dice: np.random.Generator) -> F64:
        """What the device's own code sends of it, decoded again, end to end."""
        before = named(self.shared)
        after = {name: before[name] + change for name, change in self.raw(person).items()}
        sent, _ = make_update(before, after, {}, clip, noise, dice, top_k)
        return flat({name: np.asarray(dequantise(sent.delta[name], sent.scale[name]), np.float32) for name in before})

    def biases(self, vector: F64) -> F64:
        """Of the items, from an update end to end."""
        start = (self.people.items + 1) * self.plan.dimensions
        return vector[start : start + self.people.items]

    def clip(self) -> float:
        """The median norm of the first hundred people's updates."""
        some = range(min(100, len(self.people.learned)))
        return float(np.median([np.linalg.norm(flat(self.raw(n))) for n in some]))

    def single(self, *, noise: float = 0.0, top_k: float = 0.0) -> Seen:
        """One device's message; noise is the device's own, in units of the clipping norm."""
        clip = self.clip() if noise else 1e9
        return lambda person, dice: self.biases(self.packed(person, clip, noise, top_k, dice))

    def summed(self, members: int, *, noise: float = 0.0, random_k: float = 0.0) -> Seen:
        """A secret sum of so many devices, with noise of them all together in units of the clipping norm."""
        clip = self.clip() if noise else 1e9

        def seen(person: int, dice: np.random.Generator) -> F64:
            others = dice.choice(np.delete(np.arange(len(self.people.learned)), person), members - 1, replace=False)
            total = np.sum([self.packed(int(n), clip, 0.0, 0.0, dice) for n in (person, *others)], axis=0)
            total = total + dice.normal(0.0, noise * clip, total.shape) if noise else total
            if random_k:
                keep = sparse.drawn(len(total), sparse.kept(len(total), random_k), self.seed, int(dice.integers(1_000)))
                only = np.zeros_like(total)
                only[keep] = total[keep]
                total = only
            return self.biases(total)

        return seen


def leak(people: People, seen: Seen, targets: I64, seed: int) -> Leak:
    """Attack each of the targets; the informed attacker knows everyone else."""
    figures = []
    prior = np.log1p(popularity(people)(0, np.random.default_rng(0)))
    known = np.setdiff1d(np.arange(len(people.learned)), targets)[:KNOWN]
    weight = _weights(people, seen, known, prior, seed)
    for person in targets:
        found = seen(int(person), np.random.default_rng([seed, 3, int(person)]))
        touched = set(people.learned[person].tolist())
        named_ = set(np.flatnonzero(found > 0).tolist())
        top = set(np.argsort(-found, kind="stable")[: len(touched)].tolist())
        informed = np.argsort(-(weight[0] * prior + weight[1] * found), kind="stable")[: len(touched)]
        right = len(named_ & touched)
        figures.append(
            (
                right / max(1, len(named_)),
                right / len(touched),
                len(top & touched) / len(touched),
                len(set(informed.tolist()) & touched) / len(touched),
            )
        )
    return Leak(*(round(float(one), 3) for one in np.mean(figures, axis=0)))


def _weights(people: People, seen: Seen, known: I64, prior: F64, seed: int) -> F64:
    """(2,) of popularity and of the bias that was seen: Fisher's discriminant between touched and other items."""
    rows, touched = [], []
    for person in known:
        found = seen(int(person), np.random.default_rng([seed, 8, int(person)]))
        rows.append(np.column_stack([prior, found]))
        touched.append(np.isin(np.arange(people.items), people.learned[person]))
    both, label = np.concatenate(rows), np.concatenate(touched)
    scale = np.maximum(both.std(0), 1e-30)
    both = both / scale
    spread = np.cov(both[label].T) + np.cov(both[~label].T) + 1e-9 * np.eye(2)
    return np.asarray(np.linalg.solve(spread, both[label].mean(0) - both[~label].mean(0)) / scale)


def popularity(people: People) -> Seen:
    """Who sees nothing, and knows what others touch."""
    counts = np.zeros(people.items)
    for own in people.learned:
        counts[own] += 1.0
    return lambda _person, _dice: counts


def attack(people: People, seed: int, targets: int = 100, dimensions: int = 8) -> dict[str, object]:
    """All figures."""
    target = Target(people, Plan(dimensions=dimensions, seed=seed), seed)
    chosen = np.random.default_rng([seed, 4]).choice(len(people.learned), min(targets, len(people.learned)), False)
    views: dict[str, Seen] = {
        "nothing but popularity": popularity(people),
        "one plain update": target.single(),
        "one update, top-k 0.1": target.single(top_k=0.1),
        "one update, own noise 1": target.single(noise=1.0),
        "one update, own noise 8": target.single(noise=8.0),
        "secret sum of 3": target.summed(3),
        "secret sum of 3, random-k 0.5": target.summed(3, random_k=0.5),
        "secret sum of 10": target.summed(10),
        "secret sum of 48": target.summed(48),
        "secret sum of 48, noise 2": target.summed(48, noise=2.0),
    }
    return {
        "data": people.data,
        "seed": seed,
        "targets": len(chosen),
        "attack": "sign and rank of the biases of one message; informed: popularity and messages of 40 known people",
        "clip_norm": round(target.clip(), 5),
        "leak": {name: leak(people, seen, chosen, seed) for name, seen in views.items()},
    }
