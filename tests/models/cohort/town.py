"""A made-up town whose structure is known: two tastes, an order of items, evenings, and couples who like the same."""

import numpy as np
from msgspec.structs import replace

from models.cohort.fitting import card_of, fit
from models.cohort.generator import Generator, Settings
from models.cohort.people import People, people_of
from models.cohort.scores import Learning
from models.datasets import Rating, read_open_bandit

ITEMS = 60
EVENING = 20
MONDAY = 1_600_041_600.0
"""2020-09-14, a Monday."""
SETTINGS = Settings(by="topics", topics=4, kinds=2, k_min=3, balanced=1)
LEARNING = Learning(dimensions=8, groups=30, participations=60, order=1.0, liking=1.0)
BY_MODEL = replace(SETTINGS, by="model", learning=LEARNING)


def town(people: int = 200, seed: int = 0, *, couples: bool = False) -> People:
    """People who like the lower or the upper half of the items, and mostly go on to the next item."""
    dice = np.random.default_rng(seed)
    rows: list[Rating] = []
    for number in range(people):
        low = number // 2 % 2 if couples else int(dice.integers(2))
        item = int(dice.integers(30)) + 30 * low
        time = MONDAY + 86_400.0 * int(dice.integers(14)) + 3_600.0 * EVENING + float(dice.integers(600))
        for _ in range(int(dice.integers(6, 20))):
            rows.append(Rating(user=f"u{number}", item=f"i{item}", rating=float(dice.integers(3, 6)), time=time))
            item = (item + 1) % 30 + 30 * low if dice.random() < 0.7 else int(dice.integers(30)) + 30 * low
            time += float(dice.integers(5, 60))
    homes = {f"u{number}": f"h{number // 2}" for number in range(people)} if couples else None
    return people_of(rows, homes, [f"i{n}" for n in range(ITEMS)])


def shop() -> People:
    """Who was shown what in the slice of the Open Bandit log; visitors of the same features are one."""
    log = read_open_bandit("random")
    return people_of(
        [Rating(user="-".join(row.user), item=row.item, rating=float(row.click), time=row.time) for row in log]
    )


def fitted(people: People, settings: Settings = SETTINGS) -> Generator:
    """A generator of them."""
    from pathlib import Path

    return fit(people, settings, card_of(people, Path(__file__), settings, "town"), lambda _line: None)
