"""Who is asked, and when a round stops waiting."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cohort import may_close, select

NODES = st.lists(st.integers(0, 2**63), unique=True, max_size=60)


@given(NODES, st.integers(0, 50), st.floats(0.0, 2.0), st.integers(0, 2**32))
def test_more_are_asked_than_wanted_but_never_more_than_there_are(
    nodes: list[int], wanted: int, over: float, seed: int
) -> None:
    asked = select(nodes, wanted, over, np.random.default_rng(seed))
    assert set(asked) <= set(nodes)
    assert len(set(asked)) == len(asked)
    assert len(asked) >= min(wanted, len(nodes))
    if wanted == 0:
        assert asked == sorted(nodes)


def test_thirty_percent_more_than_ten_are_thirteen() -> None:
    assert len(select(range(100), 10, 0.3, np.random.default_rng(0))) == 13


def test_the_same_seed_asks_the_same_nodes() -> None:
    first, second = (select(range(100), 10, 0.3, np.random.default_rng(4)) for _ in range(2))
    assert first == second


def test_every_node_is_asked_about_equally_often() -> None:
    dice = np.random.default_rng(0)
    asked = np.zeros(20)
    for _ in range(2_000):
        asked[select(range(20), 5, 0.0, dice)] += 1
    assert abs(asked / 2_000 - 0.25).max() < 0.05


def test_a_round_closes_when_there_is_enough_or_time_is_up() -> None:
    assert may_close(5, 5, 0.0, 60.0)
    assert not may_close(4, 5, 59.9, 60.0)
    assert may_close(0, 5, 60.0, 60.0)
