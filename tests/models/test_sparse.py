"""Positions of a sparse update: few bytes, the same for everyone, and refused when they are not what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import sparse
from models.errors import SpecInvalid

PINNED = [5, 9, 10, 11]
"""As every machine draws them: a device of another version would otherwise add to the wrong numbers."""


@given(st.sets(st.integers(0, 5_000), max_size=300))
def test_positions_come_back_as_they_were(chosen: set[int]) -> None:
    positions = np.array(sorted(chosen), np.int64)
    assert sparse.unpack(sparse.pack(positions), len(positions), 5_001).tolist() == positions.tolist()


@given(st.binary(max_size=200), st.integers(0, 50), st.integers(1, 3_000))
def test_any_bytes_are_positions_or_refused(packed: bytes, count: int, size: int) -> None:
    try:
        found = sparse.unpack(packed, count, size)
    except SpecInvalid as error:
        assert error.hint
        return
    assert len(found) == count
    assert (np.diff(found) > 0).all()
    assert all(0 <= one < size for one in found)


def test_a_tenth_of_the_positions_takes_about_a_byte_each() -> None:
    positions = sparse.drawn(20_000, 2_000, 1, 1)
    assert len(sparse.pack(positions)) < 2_050


@given(st.integers(1, 400), st.floats(0.01, 1.0), st.integers(0, 9), st.integers(1, 9))
def test_everyone_draws_the_same_positions_and_as_many_as_asked(
    size: int, share: float, seed: int, number: int
) -> None:
    keep = sparse.kept(size, share)
    found = sparse.drawn(size, keep, seed, number)
    assert found.tolist() == sparse.drawn(size, keep, seed, number).tolist()
    assert len(set(found.tolist())) == keep == len(found)
    assert found.max() < size


def test_positions_are_drawn_evenly_and_stay_the_same_over_versions() -> None:
    counts = np.zeros(100)
    for number in range(400):
        counts[sparse.drawn(100, 10, 7, number)] += 1
    assert np.abs(counts - 40).max() < 6 * np.sqrt(40 * 0.9)
    assert sparse.drawn(12, 4, 1, 1).tolist() == PINNED


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=50), st.integers(1, 50))
def test_the_largest_are_the_largest(values: list[float], keep: int) -> None:
    vector = np.array(values)
    keep = min(keep, len(vector))
    at = sparse.largest(vector, keep)
    rest = np.delete(np.abs(vector), at)
    assert len(at) == keep
    assert rest.size == 0 or rest.max() <= np.abs(vector[at]).min()


@pytest.mark.parametrize(("packed", "count"), [(b"\xff", 1), (b"\x01", 2), (b"\x09", 1), (b"\x00\x00", 1)])
def test_positions_that_are_missing_too_many_or_out_of_range_are_refused(packed: bytes, count: int) -> None:
    with pytest.raises(SpecInvalid):
        sparse.unpack(packed, count, 9)
