"""Which group is this person of? A trait that the model was never told, from one update.

The attacker has updates of people whose group is known (half of them) and fits kernel ridge regression on them; the
others are attacked. How much somebody did would show in the length of an update, so all are scaled to length 1.

Source: Melis et al. 2019, section 4.3 (a batch property classifier on observed updates).
"""

import numpy as np
from numpy.typing import NDArray

from models.federated import Plan
from tests.redteam.items import Seen, Target
from tests.redteam.people import People, auc

F64 = NDArray[np.float64]
RIDGE = 0.1


def classify(known: F64, label: NDArray[np.bool_], asked: F64) -> F64:
    """Scores of `asked` (rows) by ridge regression in the dual on `known` (rows)."""
    middle = known.mean(0)
    known, asked = known - middle, asked - middle
    gram = known @ known.T
    weight = np.linalg.solve(gram + RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)), label - label.mean())
    return np.asarray(asked @ known.T @ weight)


def attack(people: People, seed: int, most: int = 400, dimensions: int = 8) -> dict[str, object]:
    """AUC of each trait from one message, for each defence."""
    target = Target(people, Plan(dimensions=dimensions, seed=seed), seed)
    chosen = np.random.default_rng([seed, 5]).permutation(len(people.learned))[:most]
    half = len(chosen) // 2
    views: dict[str, Seen] = {
        "one plain update": target.single(),
        "one update, own noise 1": target.single(noise=1.0),
        "one update, own noise 8": target.single(noise=8.0),
        "secret sum of 10": target.summed(10),
    }
    found: dict[str, dict[str, float]] = {trait: {} for trait in people.traits}
    for name, seen in views.items():
        rows = np.stack([seen(int(n), np.random.default_rng([seed, 6, int(n)])) for n in chosen])
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        for trait, people_of in people.traits.items():
            group = people_of[chosen]
            scores = classify(rows[:half], group[:half], rows[half:])
            found[trait][name] = round(auc(scores[group[half:]], scores[~group[half:]]), 3)
    return {
        "data": people.data,
        "seed": seed,
        "attack": "kernel ridge regression on the biases of one message, scaled to length 1",
        "known_to_the_attacker": half,
        "attacked": len(chosen) - half,
        "auc": found,
    }
