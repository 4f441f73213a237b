"""People of a cohort on devices: who lives where, and when they do what they did."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.virtual.cohort import WEEK_MS, Cohort
from models.datasets import Rating, ratings_of, read_ratings
from tests.edge_agent.virtual.test_device import START_MS

IDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
ROWS = st.lists(st.builds(Rating, user=IDS, item=IDS, rating=st.just(4.0), time=st.integers(0, 2**31).map(float)))


@given(ROWS.filter(bool))
def test_everybody_begins_in_the_first_week_and_keeps_the_hour_and_the_day_of_the_week(rows: list[Rating]) -> None:
    people = Cohort(rows, START_MS).people
    assert [one.name for one in people] == sorted({row.user for row in rows})
    for person in people:
        own = sorted((int(row.time * 1_000), row.item) for row in rows if row.user == person.name)
        assert START_MS <= person.at_ms[0] < START_MS + WEEK_MS
        assert len({at - was for at, (was, _) in zip(person.at_ms, own, strict=True)}) == 1
        assert (person.at_ms[0] - own[0][0]) % WEEK_MS == 0
        assert person.items == tuple(item for _, item in own)
        assert person.own == set(person.items)


@given(ROWS.filter(bool), st.lists(st.integers(0, 2 * WEEK_MS), min_size=1, max_size=5))
def test_stretches_of_time_hold_everything_once(rows: list[Rating], stops: list[int]) -> None:
    for person in Cohort(rows, START_MS).people:
        edges = sorted([START_MS, *(START_MS + stop for stop in stops), person.at_ms[-1] + WEEK_MS])
        found = [one for a, b in pairwise(edges) for one in person.between(a, b)]
        assert found == list(zip(person.at_ms, person.items, strict=True))


def test_people_are_dealt_out_one_after_the_other_and_then_again() -> None:
    cohort = Cohort([Rating(user=user, item="a", rating=1.0, time=0.0) for user in "abc"], START_MS)
    assert [[one.name for one in cohort.living_with(device, 2)] for device in range(3)] == [
        ["a", "b"],
        ["c", "a"],
        ["b", "c"],
    ]


@settings(max_examples=40)
@given(ROWS.filter(bool), st.sampled_from([",", "\t", "::"]), st.sampled_from(["\n", "\r\n"]))
def test_what_was_carried_is_read_as_from_the_disk(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Rating], between: str, end: str
) -> None:
    lines = [between.join((row.user, row.item, f"{row.rating}", f"{row.time}")) for row in rows]
    path: Path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    path.write_bytes(end.join(lines).encode())
    assert ratings_of(path.read_bytes().decode(), path) == read_ratings(path) == rows
