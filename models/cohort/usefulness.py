"""Is a cohort good enough to learn from? Train on the cohort, ask real people; beside training on real people.

The model is `affinity-recent`, trained by the federated rounds of `edge-models bench ml-100k`. Only its shared part
comes from whom it was trained on. Who is asked learns a personal part from their own past, with the shared
part as it is, as a device does that gets a bundle; then their newest item is looked for as the bench does.

A generator that draws by this very model could be good at pleasing it alone; so EASE, which has nothing of it, is
fitted on the same people and asked the same.
"""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from models import evaluate, federated, federated_affinity, splits
from models.bench import references
from models.bench.ml_100k import NEGATIVES
from models.cohort.people import People
from models.federated import Plan
from models.federated_affinity import Factors, Shared
from models.splits import Question
from models.zoo.affinity_recent import FACTORS, PLAN

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
EASE_ITEMS_MAX = 10_000
"""EASE inverts a matrix of items by items."""
SHARED = ("item_embedding", "item_bias", "place_weight")


def question_of(people: People) -> Question:
    """Each person's newest item, asked of the rest; people with one item are not asked."""
    able = [n for n, own in enumerate(people.items) if len(own) > 1]
    return Question(
        users=tuple(people.users[n] for n in able),
        histories=tuple(people.items[n][:-1] for n in able),
        held_out=np.array([people.items[n][-1] for n in able], np.int64),
        touched=tuple(people.items[n] for n in able),
    )


def learned(histories: Sequence[I64], items: int, seed: int, plan: Plan = PLAN) -> Shared:
    """The shared part after federated rounds over these people."""
    seeded = replace(plan, seed=seed)
    shared, _ = federated.train(histories, items, seeded, federated.start(items, seeded), FACTORS)
    return shared


def hits(shared: Shared, question: Question, items: int, seed: int, plan: Plan = PLAN) -> F64:
    """1 where a person's newest item is among the first 10 of it and 99 untouched ones, (people,)."""
    still = Factors(FACTORS.lr, {**FACTORS.step, **dict.fromkeys(SHARED, 0.0)}, FACTORS.decay)
    alone = replace(plan, seed=seed, server="plain")
    _, own = federated.train(question.histories, items, alone, shared, still)
    scores = federated_affinity.scores(shared, own, question.histories)
    rows = splits.sampled(question, items, NEGATIVES, seed)
    return np.asarray(evaluate.ranks(splits.of_candidates(scores, rows)) < 10, np.float64)


def hits_of_ease(histories: Sequence[I64], question: Question, items: int, seed: int) -> F64:
    """The same by EASE fitted on who touched what of `histories`, asked with each person's last items, (people,)."""
    matrix = references.touched(histories, items)
    scores = references.ease(matrix, references.recent(question.histories, items))
    rows = splits.sampled(question, items, NEGATIVES, seed)
    return np.asarray(evaluate.ranks(splits.of_candidates(scores, rows)) < 10, np.float64)
