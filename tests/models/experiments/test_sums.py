"""Sums of many devices add up, one person moves them by no more than is said, and what cannot be true is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs.profile import ExperimentMetric
from models.experiments import sums

UNIT = st.floats(-0.5, 0.5)
PERSON = st.tuples(st.integers(0, 2), UNIT, UNIT, UNIT, UNIT)


def _table(people: list[tuple[int, float, float, float, float]]) -> sums.F64:
    table = np.zeros((3, sums.columns(2)))
    for arm, *numbers in people:
        table[arm] += sums.row(numbers[:2], numbers[2:])
    return table


@settings(max_examples=100, deadline=None)
@given(st.lists(PERSON, max_size=30), PERSON)
def test_one_person_moves_the_sums_by_at_most_the_stated_norm(people: list, person: tuple) -> None:  # type: ignore[type-arg]
    moved = _table([*people, person]) - _table(people)
    assert sums.norm({0: moved}) <= sums.person_norm(2, before=True) + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.lists(PERSON, max_size=30))
def test_what_people_in_bounds_add_up_to_is_believed(people: list) -> None:  # type: ignore[type-arg]
    assert sums.fault({0: _table(people)}, 3, 2) == ""


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0], "no count"),
        ([float("nan"), 0.0, 0.0, 0.0, 0.0, 0.0], "no count"),
        ([1e12, 0.0, 0.0, 0.0, 0.0, 0.0], "no count"),
        ([2.0, 5.0, 0.5, 0.0, 0.0, 0.0], "in bounds"),
        ([2.0, 1.0, 0.1, 0.0, 0.0, 0.0], "in bounds"),
        ([2.0, 0.0, 0.0, 0.0, 0.0, 9.0], "product"),
        ([1.0], "shape"),
    ],
)
def test_sums_that_no_people_can_have_are_refused(row: list[float], said: str) -> None:
    assert said in sums.fault({0: np.array([row])}, 1, 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(PERSON, max_size=5), min_size=1, max_size=6))
def test_devices_add_up_to_what_one_device_would_have_counted(devices: list) -> None:  # type: ignore[type-arg]
    added = sums.added([{0: _table(people)} for people in devices])
    together = _table([person for people in devices for person in people])
    np.testing.assert_allclose(added[0], together, atol=1e-9)


def test_clipping_bounds_a_device_and_leaves_small_ones_alone() -> None:
    table = np.full((2, 6), 3.0)
    assert sums.norm(sums.clipped({0: table, 1: table}, 2.0)) == pytest.approx(2.0)
    np.testing.assert_array_equal(sums.clipped({0: table}, 1_000.0)[0], table)


def test_a_number_outside_the_bounds_counts_as_the_bound() -> None:
    metric = ExperimentMetric(name="dwell", lower=0.0, upper=60.0)
    assert [sums.centred(value, metric) for value in (-5.0, 0.0, 30.0, 60.0, 1e9)] == [-0.5, -0.5, 0.0, 0.5, 0.5]
