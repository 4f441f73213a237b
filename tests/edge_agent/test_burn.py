"""Error budgets against a plain recount, and when they alert."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.burn import HOUR_MS, MINUTE_MS, WINDOWS, ErrorBudget
from edge_agent.limits import DAY_MS

NOW = 1_800_000_000_000
PERIOD = 30 * DAY_MS
STEPS = st.lists(st.tuples(st.integers(0, 2 * DAY_MS), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=60)
TARGETS = st.sampled_from([0.5, 0.9, 0.99, 0.999])


def _lived(steps: list[tuple[int, int, int]], target: float) -> tuple[ErrorBudget, list[tuple[int, int, int]], int]:
    budget, seen, now = ErrorBudget(target, PERIOD), [], NOW
    for waited, good, bad in steps:
        now += waited
        budget.add(good, bad, now)
        seen.append((now, good, bad))
    return budget, seen, now


@settings(max_examples=200, deadline=None)
@given(STEPS, TARGETS, st.sampled_from([ms for one in WINDOWS for ms in (one.long_ms, one.short_ms)]))
def test_a_window_counts_all_that_lies_in_it_and_at_most_a_slot_more(
    steps: list[tuple[int, int, int]], target: float, window: int
) -> None:
    budget, seen, now = _lived(steps, target)
    slot = {HOUR_MS: MINUTE_MS, 6 * HOUR_MS: 5 * MINUTE_MS}.get(window, HOUR_MS if window > HOUR_MS else MINUTE_MS)
    within = [(good, bad) for at, good, bad in seen if at > now - window]
    around = [(good, bad) for at, good, bad in seen if at > now - window - slot]
    good, bad = budget.counts(window, now)
    assert sum(g for g, _ in within) <= good <= sum(g for g, _ in around)
    assert sum(b for _, b in within) <= bad <= sum(b for _, b in around)


@settings(max_examples=200, deadline=None)
@given(STEPS, TARGETS)
def test_nothing_of_the_period_is_lost_and_the_slots_are_few(steps: list[tuple[int, int, int]], target: float) -> None:
    budget, seen, now = _lived(steps, target)
    good, bad = budget.counts(PERIOD, now)
    least = [(g, b) for at, g, b in seen if at > now - PERIOD]
    most = [(g, b) for at, g, b in seen if at > now - PERIOD - DAY_MS]
    assert sum(g for g, _ in least) <= good <= sum(g for g, _ in most)
    assert sum(b for _, b in least) <= bad <= sum(b for _, b in most)
    assert budget.left(now) == pytest.approx(1 - budget.rate(PERIOD, now))
    assert 0.0 <= budget.rate(PERIOD, now) <= 1 / (1 - target) + 1e-6


@settings(max_examples=100, deadline=None)
@given(STEPS, TARGETS)
def test_more_that_is_bad_never_lowers_a_rate(steps: list[tuple[int, int, int]], target: float) -> None:
    budget, _, now = _lived(steps, target)
    before = [budget.rate(one.long_ms, now) for one in WINDOWS]
    budget.add(0, 1, now)
    assert all(after >= was for after, was in zip([budget.rate(o.long_ms, now) for o in WINDOWS], before, strict=True))


@settings(max_examples=100, deadline=None)
@given(STEPS, TARGETS)
def test_what_is_stored_is_taken_up_again(steps: list[tuple[int, int, int]], target: float) -> None:
    budget, _, now = _lived(steps, target)
    again = ErrorBudget(target, PERIOD)
    again.restore(budget.pack())
    assert again.pack() == budget.pack()
    assert again.burning(now) == budget.burning(now)


@settings(max_examples=50, deadline=None)
@given(TARGETS, st.integers(1, 90))
def test_a_total_failure_alerts_whatever_the_target_and_the_period(target: float, days: int) -> None:
    budget = ErrorBudget(target, days * DAY_MS)
    for minute in range(10):
        budget.add(0, 3, NOW + minute * MINUTE_MS)
    found = budget.burning(NOW + 10 * MINUTE_MS)
    assert found is not None
    assert found.window.severity == "page"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=50), TARGETS)
def test_what_meets_its_target_alerts_nobody(goods: list[int], target: float) -> None:
    budget = ErrorBudget(target, PERIOD)
    for n, good in enumerate(goods):
        # As many bad ones as half the budget allows, in each minute.
        budget.add(good, int(good * (1 - target) / 2), NOW + n * MINUTE_MS)
    assert budget.burning(NOW + len(goods) * MINUTE_MS) is None


def test_the_workbooks_thresholds_of_thirty_days() -> None:
    budget = ErrorBudget(0.999, PERIOD)
    assert [budget.threshold(window) for window in WINDOWS] == pytest.approx([14.4, 6.0, 1.0])


def test_two_percent_of_the_budget_in_an_hour_is_a_page_by_that_window() -> None:
    for bad, by_the_hour in ((144, True), (143, False)):
        budget = ErrorBudget(0.99, PERIOD)
        for minute in range(60):
            budget.add(1_000 - bad, bad, NOW + minute * MINUTE_MS)
        found = budget.burning(NOW + 59 * MINUTE_MS)
        # Just below, the six hours' window burns: an hour is all that it has seen.
        assert found is not None
        assert (found.window.long_ms == HOUR_MS) is by_the_hour


def test_a_short_burst_in_much_that_is_good_alerts_nobody() -> None:
    budget = ErrorBudget(0.99, PERIOD)
    for hour in range(72):
        budget.add(10_000, 0, NOW + hour * HOUR_MS)
    now = NOW + 72 * HOUR_MS
    budget.add(0, 20, now)
    assert budget.rate(5 * MINUTE_MS, now) > budget.threshold(WINDOWS[0])
    assert budget.burning(now) is None


def test_an_alert_is_over_soon_after_the_failure_is() -> None:
    budget = ErrorBudget(0.99, PERIOD)
    for minute in range(30):
        budget.add(0, 20, NOW + minute * MINUTE_MS)
    budget.add(2_000, 0, NOW + 36 * MINUTE_MS)
    assert budget.rate(HOUR_MS, NOW + 36 * MINUTE_MS) > budget.threshold(WINDOWS[0])
    assert budget.rate(WINDOWS[0].short_ms, NOW + 36 * MINUTE_MS) == 0.0


def test_a_busy_month_is_some_260_slots() -> None:
    budget = ErrorBudget(0.99, PERIOD)
    steps = [(34 * 24, HOUR_MS), (24 * 12, 5 * MINUTE_MS), (120, MINUTE_MS)]
    now = NOW
    for count, step in steps:
        for _ in range(count):
            now += step
            budget.add(1, 0, now)
    assert 200 < len(budget.slots) < 280
    assert len(budget.pack()) < 5_000


def test_a_few_bad_ones_alarm_nobody() -> None:
    budget = ErrorBudget(0.99, PERIOD, bad_min=5)
    budget.add(0, 4, NOW)
    assert budget.burning(NOW) is None
    budget.add(0, 1, NOW)
    assert budget.burning(NOW) is not None


def test_a_clock_that_was_set_back_spends_nothing_twice() -> None:
    budget = ErrorBudget(0.99, PERIOD)
    budget.add(5, 1, NOW)
    budget.add(5, 1, NOW - 3 * HOUR_MS)
    assert budget.counts(HOUR_MS, NOW) == (10, 2)
