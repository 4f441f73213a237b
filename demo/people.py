"""Who lives in the five homes: real people's interactions, and one office's real sensor readings."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models import datasets

DAY_S = 86_400
HELD_OUT = 20
NEGATIVES = 99


@dataclass(frozen=True)
class Interaction:
    """One person touched one item at `time_s` (unix seconds, as in the data)."""

    user: str
    item: str
    time_s: float


@dataclass(frozen=True)
class Person:
    """One person and the device in their home."""

    device: str
    user: str
    lived: tuple[Interaction, ...]
    """What the device sees, oldest first."""
    held_out: tuple[str, ...]
    """Items of the last interactions; nothing ever tells the device."""
    unseen: tuple[tuple[str, ...], ...]
    """For each held-out item, `NEGATIVES` items that the person never touched."""


@dataclass(frozen=True)
class Population:
    """Where the interactions come from, and the people who were chosen."""

    source: str
    ratings: Path | None
    """The file that the first bundle is trained on, without the chosen people; None: the zoo's own bundle."""
    people: tuple[Person, ...]
    catalogue: int


def find_population(count: int, lived_max: int, seed: int) -> Population:
    """MovieLens where it is at hand, else Open Bandit, which ships with the project.

    Args:
        count: how many people, one device each.
        lived_max: most interactions replayed a person.
        seed: chooses the people and the negatives.
    """
    ratings = datasets.find("ml-100k/ratings.dat")
    if ratings is not None:
        rows = [Interaction(r.user, r.item, r.time) for r in datasets.read_ratings(ratings)]
        return _choose("MovieLens 100K", ratings, rows, count, lived_max, seed)
    return _choose("Open Bandit (men, uniform log)", None, _open_bandit(), count, lived_max, seed)


def _open_bandit() -> list[Interaction]:
    """Visitors with the same coarse features stand for one person, an impression for an interaction.

    Clicks alone (46 in the log) are too few to replay, so this path shows the flow and not a quality.
    """
    rows = datasets.read_open_bandit("random")
    return [Interaction("-".join(f[:6] for f in row.user), row.item, row.time) for row in rows]


def _choose(
    source: str, ratings: Path | None, rows: Sequence[Interaction], count: int, lived_max: int, seed: int
) -> Population:
    dice = random.Random(seed)  # noqa: S311
    by_user: dict[str, list[Interaction]] = {}
    for row in sorted(rows, key=lambda r: r.time_s):
        by_user.setdefault(row.user, []).append(row)
    catalogue = sorted({row.item for row in rows})
    enough = sorted(u for u, own in by_user.items() if len(own) >= lived_max + HELD_OUT)
    if len(enough) < count:
        enough = sorted(by_user, key=lambda u: -len(by_user[u]))[:count]
    people = tuple(
        _person(f"home-{n + 1}", by_user[user], catalogue, lived_max, dice)
        for n, user in enumerate(dice.sample(enough, count))
    )
    return Population(source=source, ratings=ratings, people=people, catalogue=len(catalogue))


def _person(
    device: str, own: Sequence[Interaction], catalogue: Sequence[str], lived_max: int, dice: random.Random
) -> Person:
    lived, held_out = own[-lived_max - HELD_OUT : -HELD_OUT], own[-HELD_OUT:]
    touched = {row.item for row in own}
    untouched = [item for item in catalogue if item not in touched] or list(catalogue)
    unseen = tuple(tuple(dice.sample(untouched, min(NEGATIVES, len(untouched)))) for _ in held_out)
    return Person(device, own[0].user, tuple(lived), tuple(row.item for row in held_out), unseen)


def readings(count: int) -> list[dict[str, float | bool]]:
    """Rows of the Occupancy test set as sensor payloads, spread evenly so that both classes appear."""
    rows = datasets.read_occupancy("test")
    step = max(1, len(rows) // count)
    return [
        {
            "temperature": row.temperature,
            "humidity": row.humidity,
            "light": row.light,
            "co2": row.co2,
            "occupied": bool(row.occupied),
        }
        for row in rows[::step][:count]
    ]
