"""New people: reproducible, different from anybody, and readable by whatever reads ratings."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cohort import resemblance
from models.cohort.generator import Generator
from models.cohort.people import People, people_of, read_households
from models.cohort.rhythm import WEEK_S
from models.cohort.sampling import moved, sample, write
from models.datasets import Rating, read_ratings
from tests.models.cohort.town import fitted, shop, town


@cache
def generator() -> Generator:
    return fitted(town(couples=True))


def same(one: People, other: People) -> bool:
    return one.users == other.users and all(
        np.array_equal(a, b)
        for first, second in ((one.items, other.items), (one.ratings, other.ratings), (one.times, other.times))
        for a, b in zip(first, second, strict=True)
    )


def test_a_seed_gives_the_same_people_and_another_gives_others() -> None:
    assert same(sample(generator(), 40, 5), sample(generator(), 40, 5))
    assert not same(sample(generator(), 40, 5), sample(generator(), 40, 6))


def test_a_small_cohort_is_the_beginning_of_a_large_one() -> None:
    assert same(sample(generator(), 10, 5), sample(generator(), 40, 5).only(range(10)))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**31))
def test_people_touch_an_item_once_at_times_that_rise(people: int, seed: int) -> None:
    for items, times in zip((drawn := sample(generator(), people, seed)).items, drawn.times, strict=True):
        assert len(set(items.tolist())) == len(items) == len(times) > 0
        assert (np.diff(times) >= 0.0).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 4e9))
def test_people_of_another_year_keep_their_weekdays_and_hours(start: float) -> None:
    drawn, begins = sample(generator(), 10, 5), generator().rhythm.begins
    later = moved(drawn, begins, start)
    by = later.times[0][0] - drawn.times[0][0]
    assert by % WEEK_S == 0.0
    assert 0.0 <= start - (begins + by) < WEEK_S
    assert all(np.array_equal(own + by, other) for own, other in zip(drawn.times, later.times, strict=True))


def test_the_town_is_recognised() -> None:
    real = town(couples=True)
    told = {one.name: one for one in resemblance.compare(real, sample(generator(), 200, 1), 0)}
    assert told["items"].value < 0.15
    assert told["hour of the day"].value < 0.05
    assert told["ratings"].value < 0.05
    assert told["interactions of a person"].value < 0.2
    assert told["what follows what"].value < 0.45
    assert told["people of a household"].value < 0.05
    drawn = sample(generator(), 400, 2)
    touched = [set(items.tolist()) for items in drawn.items]
    pairs, others = (np.mean([len(touched[n] & touched[n + by]) for n in range(0, 396, 2)]) for by in (1, 3))
    assert pairs > 1.15 * others, "couples like the same"


def test_what_is_written_is_what_was_drawn(tmp_path: Path) -> None:
    drawn = sample(generator(), 30, 2)
    paths = write(drawn, tmp_path / "new")
    assert [path.name for path in paths] == ["ratings.csv", "events.jsonl", "households.csv"]
    again = people_of(read_ratings(paths[0]), read_households(paths[2]), drawn.catalogue)
    assert same(again, people_of(_rows(drawn), {}, drawn.catalogue))
    events = [json.loads(line) for line in paths[1].read_text().splitlines()]
    assert len(events) == drawn.interactions
    assert set(events[0]) == {"id", "subject", "item", "rating", "time"}
    assert len({event["id"] for event in events}) == len(events)


def _rows(people: People) -> list[Rating]:
    return [
        Rating(user=user, item=people.catalogue[i], rating=r, time=t)
        for user, items, ratings, times in zip(people.users, people.items, people.ratings, people.times, strict=True)
        for i, r, t in zip(items.tolist(), ratings.tolist(), times.tolist(), strict=True)
    ]


def test_a_catalogue_with_commas_is_written_with_tabs(tmp_path: Path) -> None:
    rows = [
        Rating(user=f"u{n}", item=f"a, {item}", rating=1.0, time=float(60 * item + n))
        for n in range(40)
        for item in range(n % 5, 12)
    ]
    drawn = sample(fitted(people_of(rows)), 10, 0)
    assert {row.item for row in read_ratings(write(drawn, tmp_path)[0])} <= {f"a, {item}" for item in range(12)}


def test_the_shops_visitors_have_a_cohort_too() -> None:
    visitors = shop()
    drawn = sample(fitted(visitors), len(visitors.users), 0)
    told = {one.name: one for one in resemblance.compare(visitors, drawn, 0)}
    assert told["items"].value < 0.2
    assert told["ratings"].value < 0.02


@pytest.mark.parametrize(("first", "second", "apart"), [([2.0, 2.0], [1.0, 1.0], 0.0), ([4.0, 0.0], [0.0, 1.0], 1.0)])
def test_total_variation_is_that_of_shares(first: list[float], second: list[float], apart: float) -> None:
    assert resemblance.total_variation(np.array(first), np.array(second)) == apart


def test_kolmogorovs_distance_by_hand() -> None:
    assert resemblance.kolmogorov(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0])) == 0.5
