"""What is learned from and what is asked: the newest of each person, or everything after one moment."""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.datasets import Rating
from models.errors import DatasetInvalid
from models.negatives import untouched
from models.ranking import item_order

I64 = NDArray[np.int64]
NOBODY = -1
"""In a row of candidates: no item, which competes with none."""


class Interactions(Struct, frozen=True, kw_only=True):
    """Who touched what, in order; a person's item counts once, at the newest touch."""

    users: tuple[str, ...]
    catalogue: tuple[str, ...]
    """Item ids; their places are the row numbers below."""
    items: tuple[I64, ...]
    """For each user rows of the catalogue, oldest first; ties in time stay in the order of the file."""
    times: tuple[NDArray[np.float64], ...]
    """The same, unix seconds."""


class Question(Struct, frozen=True, kw_only=True):
    """What each person's model may know, and the item that it must find."""

    users: tuple[str, ...]
    histories: tuple[I64, ...]
    """Rows of the catalogue, oldest first."""
    held_out: I64
    """(users,) one row each."""
    touched: tuple[I64, ...]
    """Everything that a person ever touched: no item of it is a negative."""


def interactions(rows: Sequence[Rating]) -> Interactions:
    """The rows by person, people and items sorted by id (numbers by value)."""
    catalogue = tuple(sorted({row.item for row in rows}, key=item_order))
    index = {item: number for number, item in enumerate(catalogue)}
    newest: dict[str, dict[int, float]] = {}
    for row in sorted(rows, key=lambda one: one.time):
        own = newest.setdefault(row.user, {})
        own.pop(index[row.item], None)
        own[index[row.item]] = row.time
    users = tuple(sorted(newest, key=item_order))
    return Interactions(
        users=users,
        catalogue=catalogue,
        items=tuple(np.fromiter(newest[user], np.int64) for user in users),
        times=tuple(np.fromiter(newest[user].values(), np.float64) for user in users),
    )


def leave_one_out(data: Interactions, back: int = 1) -> Question:
    """Hold out each person's newest item but `back` - 1; later ones are neither learned from nor asked.

    Args:
        back: 1 for the test item, 2 for the validation item, on which hyper-parameters are chosen.
    Raises:
        DatasetInvalid: nobody has an item to hold out and another to learn from.
    """
    able = [number for number, own in enumerate(data.items) if len(own) > back]
    if not able:
        raise DatasetInvalid(
            f"nobody has {back + 1} different items, so there is nothing to hold out",
            hint="give more interactions a person",
        )
    return Question(
        users=tuple(data.users[one] for one in able),
        histories=tuple(data.items[one][:-back] for one in able),
        held_out=np.array([data.items[one][-back] for one in able], np.int64),
        touched=tuple(data.items[one] for one in able),
    )


def only(question: Question, wanted: Callable[[str], bool]) -> Question:
    """The same question for some of the people.

    Raises:
        DatasetInvalid: nobody is left.
    """
    kept = [number for number, user in enumerate(question.users) if wanted(user)]
    if not kept:
        raise DatasetInvalid("nobody with two interactions is left to learn from", hint="check --users and the file")
    return Question(
        users=tuple(question.users[one] for one in kept),
        histories=tuple(question.histories[one] for one in kept),
        held_out=question.held_out[kept],
        touched=tuple(question.touched[one] for one in kept),
    )


def temporal(data: Interactions, moment: float) -> Question:
    """Everything before `moment` is learned from; each person's first item at or after it is asked.

    Unlike leave-one-out, nobody's future tells of another's past (Meng et al. 2020, "Exploring Data Splitting
    Strategies for the Evaluation of Recommendation Models").

    Args:
        moment: unix seconds.
    Raises:
        DatasetInvalid: nobody has items on both sides.
    """
    cuts = [int(np.searchsorted(times, moment)) for times in data.times]
    able = [number for number, cut in enumerate(cuts) if 0 < cut < len(data.times[number])]
    if not able:
        raise DatasetInvalid("nobody has items before and after the moment", hint="choose another moment")
    return Question(
        users=tuple(data.users[one] for one in able),
        histories=tuple(data.items[one][: cuts[one]] for one in able),
        held_out=np.array([data.items[one][cuts[one]] for one in able], np.int64),
        touched=tuple(data.items[one] for one in able),
    )


def sampled(question: Question, items: int, negatives: int, seed: int) -> I64:
    """The held-out item and `negatives` items that the person never touched, each once; (users, 1 + negatives).

    Uniform without replacement. Who has touched almost everything gets as many as there are, and then NOBODY.
    """
    dice = np.random.default_rng(seed)
    rows = np.full((len(question.users), 1 + negatives), NOBODY, np.int64)
    rows[:, 0] = question.held_out
    for row, own in zip(rows, question.touched, strict=True):
        pool = untouched(items, own)
        count = min(negatives, len(pool))
        row[1 : 1 + count] = dice.choice(pool, count, replace=False)
    return rows


def of_candidates(scores: NDArray[np.floating], rows: I64) -> NDArray[np.floating]:
    """The candidates' scores, shape of `rows`, out of everybody's scores of every item (users, items)."""
    return np.where(rows == NOBODY, -np.inf, np.take_along_axis(scores, np.maximum(rows, 0), axis=1))
