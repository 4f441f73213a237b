"""People, items and who touched what: sampling, training by person, and the leave-one-out protocol.

Each person's personal parameters are trained on that person's rows only, the shared ones on everybody's, by
the same `train_step.onnx` that devices run.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.datasets import Rating
from models.session import Predictor, TrainStep

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


class History(Struct, frozen=True, kw_only=True):
    """One person's items, oldest first, as rows of the catalogue."""

    user: str
    lived: I64
    """What may be learned from."""
    held_out: int
    """The newest item, which nothing is trained on."""

    def unseen(self, items: int) -> I64:
        """The catalogue without what this person touched, the held-out item included."""
        fresh = np.ones(items, bool)
        fresh[self.lived] = False
        fresh[self.held_out] = False
        return np.flatnonzero(fresh)


class Schedule(Struct, frozen=True, kw_only=True):
    """How a build trains. The learning rate falls linearly to 0 over the epochs."""

    lr: float
    epochs: int
    batch: int
    negatives: int


def item_order(item: str) -> tuple[int, int, str]:
    """Sorts ids as people would: numbers by value, then text."""
    return (0, int(item), item) if item.isdecimal() and item.isascii() else (1, 0, item)


def histories(rows: Sequence[Rating], catalogue: Sequence[str]) -> list[History]:
    """One history a person with at least two interactions, by user id; ties in time stay in file order."""
    index = {item: row for row, item in enumerate(catalogue)}
    by_user: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda r: r.time):
        by_user.setdefault(row.user, []).append(index[row.item])
    return [
        History(user=user, lived=np.array(own[:-1], np.int64), held_out=own[-1])
        for user, own in sorted(by_user.items(), key=lambda pair: item_order(pair[0]))
        if len(own) >= 2
    ]


def activity_groups(counts: Sequence[int]) -> dict[str, NDArray[np.bool_]]:
    """People in thirds by how much they did: light, medium and heavy, each (people,)."""
    done = np.array(counts)
    low, high = np.quantile(done, [1 / 3, 2 / 3])
    return {"light": done <= low, "medium": (done > low) & (done <= high), "heavy": done > high}


def batches(history: History, items: int, schedule: Schedule, dice: np.random.Generator) -> Iterator[tuple[I64, F32]]:
    """One epoch of (item, label): each lived item with label 1, `negatives` untouched ones with label 0.

    The held-out item may be drawn as a negative, as on a device, which cannot know it.
    """
    pool = np.ones(items, bool)
    pool[history.lived] = False
    untouched = np.flatnonzero(pool)
    count = len(history.lived) * schedule.negatives if untouched.size else 0
    item = np.concatenate([history.lived, dice.choice(untouched, count) if count else untouched[:0]])
    label = np.concatenate([np.ones(len(history.lived), np.float32), np.zeros(count, np.float32)])
    order = dice.permutation(len(item))
    for start in range(0, len(item), schedule.batch):
        rows = order[start : start + schedule.batch]
        yield item[rows], label[rows]


def fit(
    step: TrainStep,
    weights: Mapping[str, F32],
    personal: Sequence[str],
    people: Sequence[History],
    schedule: Schedule,
    dice: np.random.Generator,
) -> tuple[dict[str, F32], dict[str, dict[str, F32]]]:
    """Train shared and personal parameters together.

    Args:
        step: the train step, whose inputs are `item` and `label`.
        weights: initial parameters; everybody's personal ones start the same.
        personal: names of the personal parameters.
        people: whom to learn from.
        schedule: how long and how fast.
        dice: orders people and draws negatives.
    Returns:
        The shared parameters, and by user the personal ones.
    """
    shared = {name: value for name, value in weights.items() if name not in personal}
    own = {one.user: {name: weights[name] for name in personal} for one in people}
    items = len(weights["item_bias"])
    for epoch in range(schedule.epochs):
        lr = schedule.lr * (1.0 - epoch / schedule.epochs)
        for index in dice.permutation(len(people)):
            history = people[index]
            now = {**shared, **own[history.user]}
            for item, label in batches(history, items, schedule, dice):
                now, _ = step(now, {"item": item}, label, lr)
            own[history.user] = {name: now[name] for name in personal}
            shared = {name: now[name] for name in shared}
    return shared, own


def personalise(
    step: TrainStep,
    weights: Mapping[str, F32],
    personal: Sequence[str],
    history: History,
    schedule: Schedule,
    dice: np.random.Generator,
) -> dict[str, F32]:
    """What a device does alone: train the personal parameters and leave the shared ones as they are."""
    own = {name: weights[name] for name in personal}
    items = len(weights["item_bias"])
    for _ in range(schedule.epochs):
        for item, label in batches(history, items, schedule, dice):
            after, _ = step({**weights, **own}, {"item": item}, label, schedule.lr)
            own = {name: after[name] for name in personal}
    return own


def candidates(people: Sequence[History], items: int, negatives: int, seed: int) -> I64:
    """The held-out item and `negatives` items that the person never touched, shape (people, 1 + negatives).

    A catalogue too small for that many gives each person as many as there are for everyone.
    """
    dice = np.random.default_rng(seed)
    pools = [one.unseen(items) for one in people]
    count = min([negatives, *(len(pool) for pool in pools)])
    drawn = [dice.choice(pool, count, replace=False) for pool in pools]
    return np.array([[one.held_out, *row] for one, row in zip(people, drawn, strict=True)], np.int64)


def scores(
    predict: Predictor,
    shared: Mapping[str, F32],
    own: Mapping[str, Mapping[str, F32]],
    people: Sequence[History],
    rows: I64,
) -> F32:
    """Each person's scores for their candidates, shape of `rows`."""
    return np.array(
        [predict({**shared, **own[one.user]}, {"item": row}) for one, row in zip(people, rows, strict=True)],
        np.float32,
    )
