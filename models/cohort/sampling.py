"""`edge-models cohort sample`: new people, drawn from a generator; the same seed gives the same people.

Each person has a generator of random numbers of their own, so the first n of a large cohort are a small cohort.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from models.cohort import households, rhythm, scores
from models.cohort.following import PLACES
from models.cohort.generator import Generator, Topics
from models.cohort.people import People
from models.cohort.rhythm import WEEK_S
from models.cohort.scores import Scores

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
TRIES = 40
"""Draws that may hit what the person has touched already; then the rest of the catalogue is looked through."""
PEOPLE_MAX = 1_000_000


def sample(generator: Generator, people: int, seed: int) -> People:
    """Draw people, named `s0`, `s1`, …

    Args:
        people: how many, 1 … `PEOPLE_MAX`.
    """
    homes = households.draw(generator.households, people, np.random.default_rng([seed, 0]))
    source = generator.source if isinstance(generator.source, Scores) else _Chains(generator.source)
    rows = [_person(generator, source, int(home), number, seed) for number, home in enumerate(homes)]
    together = np.bincount(homes)
    return People(
        users=tuple(f"s{number}" for number in range(people)),
        catalogue=generator.catalogue,
        items=tuple(row[0] for row in rows),
        ratings=tuple(row[1] for row in rows),
        times=tuple(row[2] for row in rows),
        household=tuple(f"h{home}" if generator.card.households or together[home] > 1 else "" for home in homes),
    )


def moved(cohort: People, begins: float, start: float) -> People:
    """The same people in other weeks: weekdays and hours stay as they are.

    Args:
        begins: unix seconds of the Monday that their time is counted from.
        start: unix seconds within the week that shall take its place.
    """
    by = np.floor((start - begins) / WEEK_S) * WEEK_S
    return replace(cohort, times=tuple(own + by for own in cohort.times))


class _Chains:
    """Topics, and the followers of each item, ready to be drawn from."""

    def __init__(self, topics: Topics) -> None:
        self.tastes = topics.tastes
        after = topics.following
        self.start = after.start.tolist()
        self.follower = after.follower.tolist()
        running = np.concatenate([[0.0], np.cumsum(after.weight)])
        self.running = running.tolist()
        self.ways = np.cumsum(after.ways).tolist()

    def follower_of(self, item: int, chance: float) -> int:
        """A follower, or -1 where none is known."""
        low, high = self.start[item], self.start[item + 1]
        mass = self.running[high] - self.running[low]
        if mass <= 0.0:
            return -1
        at = bisect_right(self.running, self.running[low] + chance * mass, low + 1, high) - 1
        return int(self.follower[min(at, high - 1)])


def _person(generator: Generator, source: _Chains | Scores, home: int, number: int, seed: int) -> tuple[I64, F64, F64]:
    """One person's items, ratings and times."""
    dice = np.random.default_rng([seed, 1, number])
    shared = dice.random() < np.sqrt(generator.households.alike)
    taste = np.random.default_rng([seed, 2, home]) if shared else dice
    kind = int(taste.choice(len(generator.rhythm.share), p=generator.rhythm.share))
    most = len(generator.catalogue)
    if isinstance(source, Scores):
        liking = source.liking_of(kind, taste)
        count = min(most, rhythm.draw_count(generator.rhythm.count[kind], dice))
        items = scores.draw(source, liking, count, dice)
    else:
        mixture = taste.dirichlet(source.tastes.mixture[kind])
        count = min(most, rhythm.draw_count(generator.rhythm.count[kind], dice))
        items = _items(source, mixture @ source.tastes.topics, count, dice)
    times = rhythm.draw_times(generator.rhythm, kind, count, dice)
    return items, _ratings(generator, items, dice), times


def _items(chains: _Chains, taste: F64, count: int, dice: np.random.Generator) -> I64:
    """Different items, in order."""
    running = np.cumsum(taste)
    running /= running[-1]
    line = running.tolist()
    found: list[int] = []
    seen: set[int] = set()
    while len(found) < count:
        for way, one, other in dice.random((TRIES, 3)).tolist():
            place = min(PLACES, bisect_right(chains.ways, way))
            if place and place <= len(found):
                item = chains.follower_of(found[-place], one)
            else:
                item = min(bisect_right(line, other), len(line) - 1)
            if item >= 0 and item not in seen:
                break
        else:
            left = np.ones(len(taste), bool)
            left[found] = False
            rest = np.flatnonzero(left)
            weight = taste[rest] + 1e-12
            item = int(dice.choice(rest, p=weight / weight.sum()))
        found.append(item)
        seen.add(item)
    return np.array(found, np.int64)


def _ratings(generator: Generator, items: I64, dice: np.random.Generator) -> F64:
    """Ratings of items: the item's own shares, tilted by how the person leans."""
    if len(generator.values) == 1:
        return np.full(len(items), generator.values[0])
    lean = float(dice.normal(0.0, generator.leaning))
    middle = generator.values - generator.values.mean()
    shares = generator.rating[items] * np.exp(np.clip(lean * middle, -50.0, 50.0))
    running = np.cumsum(shares, axis=1)
    at = (running < dice.random((len(items), 1)) * running[:, -1:]).sum(axis=1)
    return np.asarray(generator.values[np.minimum(at, len(generator.values) - 1)], np.float64)


def write(cohort: People, folder: Path) -> list[Path]:
    """Write `ratings.csv`, `events.jsonl` and, where people live together, `households.csv`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / "ratings.csv", folder / "events.jsonl"]
    with made[0].open("w", encoding="utf-8") as ratings, made[1].open("w", encoding="utf-8") as events:
        # An id of a catalogue may hold commas, never tabs.
        comma = "\t" if any("," in item for item in cohort.catalogue) else ","
        ratings.write(comma.join(("user", "item", "rating", "time")) + "\n")
        for user, item, rating, time in _rows(cohort):
            ratings.write(comma.join((user, item, f"{rating:g}", f"{time:.0f}")) + "\n")
            event = {"id": f"{user}-{item}", "subject": user, "item": item, "rating": rating, "time": time}
            events.write(json.dumps(event) + "\n")
    if any(cohort.household):
        made.append(folder / "households.csv")
        lines = [f"{home},{user}\n" for home, user in zip(cohort.household, cohort.users, strict=True) if home]
        made[-1].write_text("household,user\n" + "".join(lines), encoding="utf-8")
    return made


def _rows(cohort: People) -> Iterator[tuple[str, str, float, float]]:
    for user, items, ratings, times in zip(cohort.users, cohort.items, cohort.ratings, cohort.times, strict=True):
        for item, rating, time in zip(items.tolist(), ratings.tolist(), times.tolist(), strict=True):
            yield user, cohort.catalogue[item], rating, time
