"""Lifetime value: numbers worked out by hand, and which way it must move."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.learn.lifetime import DAY_MS, Purchases, active, lifetime_value
from firmware_configs.profile import LifetimeValue

MODEL = LifetimeValue(
    source="till", horizon_days=100.0, discount_year=0.0, lifetime_days=200.0, prior_events=1.0, prior_days=10.0
)


def seen(*days: float, value: float = 1.0) -> Purchases:
    found = Purchases()
    for day in days:
        found.take(value, int(day * DAY_MS) + 1)
    return found


def test_who_was_never_seen_is_worth_the_prior() -> None:
    # 0.1 a day for a mean life of 200 days, of which 100 are looked at: 0.1 · 200 · (1 - e^(-1/2)).
    assert lifetime_value(MODEL, Purchases(), 0) == pytest.approx(0.1 * 200 * (1 - math.exp(-0.5)))


def test_who_bought_just_now_is_active() -> None:
    # Three events in 20 days and the prior's one in 10: 4/30 a day, mean value 1.
    value = lifetime_value(MODEL, seen(0, 10, 20), 20 * DAY_MS + 1)
    assert value == pytest.approx(4 / 30 * 200 * (1 - math.exp(-0.5)))


def test_silence_is_told_from_absence_by_the_equation_of_1987() -> None:
    # λ = 0.2 and μ = 0.05 a day, 4 days silent: 1 / (1 + 0.2 · (e - 1)).
    assert active(0.2, 0.05, 4.0) == pytest.approx(1 / (1 + 0.2 * (math.e - 1)))


def test_interest_makes_the_future_worth_less() -> None:
    dear = LifetimeValue(source="till", discount_year=1.0)
    assert lifetime_value(dear, seen(0), DAY_MS) < lifetime_value(LifetimeValue(source="till"), seen(0), DAY_MS)


@given(st.lists(st.floats(0, 300), max_size=20), st.floats(0, 1e6), st.floats(300, 100_000))
def test_it_is_finite_never_negative_and_falls_with_silence(days: list[float], value: float, now: float) -> None:
    history = seen(*days, value=value)
    today, later = (lifetime_value(MODEL, history, int(at * DAY_MS) + 1) for at in (now, now + 50))
    assert 0.0 <= later <= today < math.inf
    assert history.count == len(days)


@given(st.permutations([1.0, 5.0, 9.0, 9.0]))
def test_the_order_in_which_events_come_changes_nothing(days: list[float]) -> None:
    assert seen(*days) == seen(1.0, 5.0, 9.0, 9.0)
