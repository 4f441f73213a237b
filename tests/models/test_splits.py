"""What is held out, what may be learned from, and what may stand beside it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import splits
from models.datasets import Rating
from models.errors import DatasetInvalid

FEW = [("b", "y", 3.0), ("a", "x", 1.0), ("a", "10", 2.0), ("a", "9", 2.0), ("b", "x", 1.0), ("a", "x", 4.0)]


def _rows(rows: list[tuple[str, str, float]]) -> list[Rating]:
    return [Rating(user=user, item=item, rating=1.0, time=time) for user, item, time in rows]


def test_an_item_counts_once_at_its_newest_touch_and_ties_keep_the_order_of_the_file() -> None:
    data = splits.interactions(_rows(FEW))
    assert data.catalogue == ("9", "10", "x", "y")
    named = {user: [data.catalogue[item] for item in items] for user, items in zip(data.users, data.items, strict=True)}
    assert named == {"a": ["10", "9", "x"], "b": ["x", "y"]}


def test_the_validation_item_is_asked_without_a_look_at_the_test_item() -> None:
    data = splits.interactions(_rows(FEW))
    test, validation = splits.leave_one_out(data), splits.leave_one_out(data, back=2)
    assert [data.catalogue[item] for item in test.held_out] == ["x", "y"]
    assert validation.users == ("a",), "b has nothing left to learn from"
    assert [data.catalogue[item] for item in validation.held_out] == ["9"]
    assert [data.catalogue[item] for item in validation.histories[0]] == ["10"]


def test_a_temporal_split_learns_from_nothing_that_came_later() -> None:
    data = splits.interactions(_rows(FEW))
    question = splits.temporal(data, 2.5)
    assert [data.catalogue[item] for item in question.held_out] == ["x", "y"]
    with pytest.raises(DatasetInvalid, match="another moment"):
        splits.temporal(data, 99.0)


def test_nobody_with_enough_items_is_said() -> None:
    with pytest.raises(DatasetInvalid, match="hold out"):
        splits.leave_one_out(splits.interactions(_rows([("a", "x", 1.0), ("b", "y", 1.0)])))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12345678"), st.integers(0, 9)), min_size=8),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_no_candidate_was_ever_touched_and_none_comes_twice(
    rows: list[tuple[str, str, int]], negatives: int, seed: int
) -> None:
    data = splits.interactions(_rows([(user, item, float(time)) for user, item, time in rows]))
    try:
        question = splits.leave_one_out(data)
    except DatasetInvalid:
        return
    candidates = splits.sampled(question, len(data.catalogue), negatives, seed)
    np.testing.assert_array_equal(candidates, splits.sampled(question, len(data.catalogue), negatives, seed))
    for row, held_out, touched in zip(candidates, question.held_out, question.touched, strict=True):
        drawn = row[row != splits.NOBODY]
        assert drawn[0] == held_out
        assert len(set(drawn)) == len(drawn) == 1 + min(negatives, len(data.catalogue) - len(touched))
        assert not set(drawn[1:]) & set(touched)


def test_nobody_competes_with_no_one() -> None:
    scores = np.array([[0.1, 0.9], [0.1, 0.9]])
    got = splits.of_candidates(scores, np.array([[0, splits.NOBODY], [0, 1]]))
    np.testing.assert_array_equal(got, [[0.1, -np.inf], [0.1, 0.9]])
