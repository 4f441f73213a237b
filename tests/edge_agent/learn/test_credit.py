"""Credit by each model, against numbers worked out by hand, and what must hold for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.learn.credit import shares
from firmware_configs.profile import Attribution, FirstTouch, LastTouch, Linear, PositionBased, TimeDecay

HOUR = 3_600_000
MODELS: list[Attribution] = [
    LastTouch(),
    FirstTouch(),
    Linear(),
    TimeDecay(half_life_s=3_600.0),
    TimeDecay(half_life_s=1e-3),
    PositionBased(),
    PositionBased(first=0.0, last=1.0),
    PositionBased(first=0.0, last=0.0),
]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LastTouch(), [0.0, 0.0, 0.0, 1.0]),
        (FirstTouch(), [1.0, 0.0, 0.0, 0.0]),
        (Linear(), [0.25, 0.25, 0.25, 0.25]),
        # Ages of 3, 2, 1 and 0 hours: 1/8, 1/4, 1/2 and 1, together 15/8.
        (TimeDecay(half_life_s=3_600.0), [1 / 15, 2 / 15, 4 / 15, 8 / 15]),
        (PositionBased(first=0.5, last=0.3), [0.5, 0.1, 0.1, 0.3]),
    ],
)
def test_four_touches_an_hour_apart(model: Attribution, expected: list[float]) -> None:
    assert shares(model, [0, HOUR, 2 * HOUR, 3 * HOUR], 3 * HOUR) == pytest.approx(expected)


def test_without_a_middle_its_share_goes_to_the_ends_alike() -> None:
    assert shares(PositionBased(first=0.4, last=0.2), [0, 1], 2) == pytest.approx([0.6, 0.4])
    assert shares(PositionBased(first=0.4, last=0.2), [0], 2) == [1.0]


@given(st.sampled_from(MODELS), st.lists(st.integers(0, 10**12), max_size=40), st.integers(0, 10**12))
def test_shares_add_up_to_one_or_there_are_none(model: Attribution, times: list[int], outcome_ms: int) -> None:
    found = shares(model, sorted(times), outcome_ms)
    assert len(found) == len(times)
    assert all(0.0 <= share <= 1.0 for share in found)
    assert sum(found) == pytest.approx(1.0 if times else 0.0)


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=20))
def test_by_decay_a_newer_touch_never_gets_less(times: list[int]) -> None:
    ordered = sorted(times)
    found = shares(TimeDecay(half_life_s=600.0), ordered, ordered[-1])
    assert found == sorted(found)
