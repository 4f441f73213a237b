"""Metrics of decisions: observed once, at the end of the window, with zeros, censoring, arms and segments."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.happenings import Happening
from edge_agent.learn.totals import BUCKETS, Cell
from edge_agent.limits import TOUCHES_MAX
from tests.edge_agent.shop import DAY_MS, HOUR_MS, VIEW, Shop, added, metric, outcome

CLICKS = metric("clicks", '{ kind = "rate", outcomes = ["click"], window_s = 3600.0 }')
BOUGHT = metric("bought", '{ kind = "rate", outcomes = ["purchase"], window_s = 3600.0 }')
TIME = metric("time", '{ kind = "time-to", outcomes = ["purchase"], window_s = 3600.0 }', upper=3_600.0)
SPENT = metric("spent", '{ kind = "value", outcomes = ["purchase"], window_s = 3600.0 }', upper=40.0)
CLOSING = 2 * HOUR_MS


def dwell(missing_end: str) -> str:
    return metric("dwell", f'{{ kind = "dwell", cap_s = 100.0, missing_end = "{missing_end}" }}', upper=300.0)


def seconds(shop: Shop, decision: str, *phases: tuple[str, int]) -> None:
    """Views: (phase, seconds from now), told in that order ten minutes later."""
    start = shop.now
    shop.now += 600_000
    for phase, at_s in phases:
        shop.event("screen", "u", start + at_s * 1_000, phase=phase, decision=decision)


def test_click_through_counts_those_who_did_not_click() -> None:
    shop = Shop(CLICKS).agree("u")
    made = [shop.event("kiosk", "u") for _ in range(4)]
    shop.answer(made[1])
    shop.answer(made[2], "dismiss")
    assert ("metric", "clicks") not in shop.rows
    shop.pass_time(CLOSING)
    cell = shop.cell("clicks")
    assert (cell.n, cell.total, cell.buckets) == (4, 1.0, {0: 3, BUCKETS - 1: 1})


def test_each_observation_is_kept_beside_its_decision() -> None:
    shop = Shop(CLICKS).agree("u")
    first, second = shop.event("kiosk", "u"), shop.event("kiosk", "u")
    shop.answer(second)
    shop.pass_time(CLOSING)
    assert {(one.decision, one.value) for one in shop.earned("clicks")} == {(first, 0.0), (second, 1.0)}


def test_value_is_what_was_credited_clipped() -> None:
    shop = Shop(outcome("linear"), SPENT).agree("u")
    shop.event("kiosk", "u")
    shop.event("app", "u")
    for _ in range(3):
        shop.buys("u", amount=30.0)
    shop.pass_time(CLOSING)
    cell = shop.cell("spent")
    assert (cell.n, cell.total) == (2, 80.0)  # 45 each, clipped to 40


def test_time_to_conversion_knows_who_never_did() -> None:
    shop = Shop(outcome("linear"), TIME).agree("u", "v")
    shop.event("kiosk", "u")
    shop.event("kiosk", "v")
    start = shop.now
    shop.now += 1_000_000
    shop.buys("u", at_ms=start + 900_000)
    shop.buys("u", at_ms=start + 450_000)  # arrives later, happened first
    shop.pass_time(CLOSING)
    cell = shop.cell("time")
    assert (cell.n, cell.total) == (2, 450.0 + 3_600.0)
    assert cell.buckets == {2: 1}
    assert cell.censored == {BUCKETS - 1: 1}


def test_a_decision_that_gave_way_is_censored_for_times_and_nothing_for_shares() -> None:
    shop = Shop(outcome(), TIME, BOUGHT).agree("u")
    for _ in range(TOUCHES_MAX + 2):
        shop.event("kiosk", "u")
        shop.now += 10_000
    shop.pass_time(CLOSING)
    assert shop.cell("bought").n == TOUCHES_MAX
    time = shop.cell("time")
    assert time.n == TOUCHES_MAX
    assert sum(time.censored.values()) == TOUCHES_MAX + 2
    assert shop.agent.counters["metrics.cut-short"] == 4


@pytest.mark.parametrize(
    ("missing_end", "phases", "expected"),
    [
        ("drop", [("start", 1), ("end", 21)], 20.0),
        ("drop", [("end", 21), ("start", 1)], 20.0),
        ("drop", [("start", 1), ("end", 21), ("start", 50), ("end", 60)], 30.0),
        ("drop", [("start", 1), ("end", 500)], 100.0),
        ("drop", [("start", 1)], None),
        ("cap", [("start", 1)], 100.0),
        ("zero", [("start", 1)], 0.0),
        ("cap", [("start", 1), ("start", 10), ("end", 20)], 110.0),
        ("cap", [], None),
    ],
)
def test_dwell_has_a_cap_and_a_rule_for_an_end_that_is_missing(
    missing_end: str, phases: list[tuple[str, int]], expected: float | None
) -> None:
    shop = Shop(VIEW, dwell(missing_end)).agree("u")
    seconds(shop, shop.event("kiosk", "u"), *phases)
    shop.pass_time(CLOSING)
    if expected is None:
        assert ("metric", "dwell") not in shop.rows
    else:
        cell = shop.cell("dwell")
        assert (cell.n, cell.total) == (1, expected)


@pytest.mark.parametrize(("after_ms", "back"), [(DAY_MS - 1, 0.0), (DAY_MS, 1.0), (2 * DAY_MS, 0.0)])
def test_a_return_visit_is_one_of_that_day(after_ms: int, back: float) -> None:
    shop = Shop(metric("back", '{ kind = "return", source = "app", day = 1 }', placements='"front"')).agree("u")
    shop.event("kiosk", "u")
    shop.event("kiosk", "u")  # the days are being counted already
    shop.now += after_ms
    shop.event("app", "u")
    shop.pass_time(4 * DAY_MS, step_ms=6 * HOUR_MS)
    cell = shop.cell("back")
    assert (cell.n, cell.total) == (1, back)


def test_lifetime_value_is_estimated_once_after_its_days() -> None:
    measure = '{ kind = "lifetime-value", source = "till", value_field = "amount", value_max = 50.0, after_days = 2.0 }'
    shop = Shop(metric("lifetime", measure, upper=1e6, placements='"front"')).agree("u", "v")
    shop.event("kiosk", "u")
    shop.event("kiosk", "v")
    shop.buys("u", amount=40.0)
    shop.pass_time(3 * DAY_MS, step_ms=12 * HOUR_MS)
    cell = shop.cell("lifetime")
    values = sorted(one.value for one in shop.earned("lifetime"))
    assert cell.n == 2
    assert 0.0 < values[0] < values[1]


def test_sums_are_told_apart_by_segment() -> None:
    calm = '[[segment]]\nname = "calm"\nwhen = "fields.mood == \'calm\'"\n'
    shop = Shop(CLICKS, calm).agree("u")
    shop.event("kiosk", "u")
    shop.event("kiosk", "u", mood="cross")
    shop.event("kiosk", "u", mood="cross")
    shop.pass_time(CLOSING)
    cells = {tuple(key.split("\x1f"))[2]: cell.n for key, cell in shop.sums("clicks").cells.items()}
    assert cells == {"calm": 1, "other": 2}


def test_without_consent_to_its_purpose_a_metric_observes_nothing() -> None:
    asked = 'legal_basis = "consent"\nconsent = "required"\ntext = "We count what you click on."'
    purpose = f'[[purpose]]\nname = "measure"\n{asked}\n'
    shop = Shop(purpose, CLICKS.replace('["recommend"]', '["measure"]')).agree("u")
    shop.event("kiosk", "u")
    shop.pass_time(CLOSING)
    assert ("metric", "clicks") not in shop.rows


def test_once_a_day_the_sums_are_told_whole_and_retained() -> None:
    shop = Shop(CLICKS).agree("u")
    for _ in range(2):
        shop.event("kiosk", "u")
        shop.pass_time(2 * DAY_MS, step_ms=6 * HOUR_MS)
    told = [one.totals[0].cells[0].n for one in shop.measured()]
    assert told == sorted(told)
    assert told[-1] == 2
    assert len(told) == 5  # once a day, in four days and a bit
    assert all(sent.retain for sent in shop.sent if sent.topic.endswith("/metric"))
    assert shop.measured()[-1].k_min == 3


def test_without_an_egress_for_metrics_nothing_is_told() -> None:
    shop = Shop(CLICKS).agree("u")
    shop.agent.gate.ledger._declared.pop("metric")
    shop.event("kiosk", "u")
    shop.pass_time(2 * DAY_MS, step_ms=6 * HOUR_MS)
    assert shop.measured() == []


def test_under_another_definition_the_sums_begin_again() -> None:
    shop = Shop(CLICKS).agree("u")
    shop.event("kiosk", "u")
    shop.pass_time(CLOSING)
    other = Shop(CLICKS.replace("3600.0", "1800.0"))
    other.rows = shop.rows
    other.now = shop.now
    other.restart()
    other.event("kiosk", "u")
    other.pass_time(CLOSING)
    assert other.cell("clicks").n == 1


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["kiosk", "till", "click", "screen"]), st.integers(0, 2 * HOUR_MS)), max_size=14)
)
def test_every_decision_is_observed_exactly_once(moves: list[tuple[str, int]]) -> None:
    shop = Shop(VIEW, outcome("linear"), CLICKS, BOUGHT, TIME, SPENT, dwell("cap")).agree("u")
    made: list[str] = []
    for move, later in moves:
        shop.pass_time(later)
        if move == "kiosk":
            made.append(shop.event("kiosk", "u"))
        elif move == "till":
            shop.buys("u")
        elif made and move == "click":
            shop.answer(made[-1])
        elif made:
            seconds(shop, made[-1], ("start", 0))
    shop.pass_time(2 * DAY_MS)
    for name in ("clicks", "bought", "time", "spent"):
        assert sorted(one.decision for one in shop.earned(name)) == sorted(made)
        cell = shop.cell(name) if made else Cell()
        assert cell.n == len(made)
        assert cell.total == pytest.approx(sum(one.value for one in shop.earned(name)))
        assert sum(added([cell]).buckets.values()) + sum(cell.censored.values()) == len(made)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["kiosk", "app", "till", "click", "tick", "restart"]), max_size=16))
def test_a_journal_replays_to_the_same_credits_sums_and_paths(moves: list[str]) -> None:
    parts = (outcome("linear", 'paths = "channel"'), CLICKS, TIME, SPENT)
    shop, again = Shop(*parts, record=True).agree("u"), Shop(*parts)
    for move in moves:
        shop.now += 600_000
        if move == "restart":
            shop.restart()
        elif move == "tick":
            shop.pass_time(CLOSING)
        elif move != "click":
            shop.event(move, "u", **({"amount": 10.0} if move == "till" else {}))
        elif shop.decisions():
            shop.answer(shop.decisions()[-1].id)
    shop.pass_time(CLOSING)
    for row in [one for one in shop.shelves.values() if one.shelf == "journal"]:
        again.now = row.made_ms
        again.tell(msgspec.msgpack.decode(row.value, type=Happening))
    assert again.decisions() == shop.decisions()
    assert again.earned() == shop.earned()
    for room in ("touch", "metric", "bandit"):
        mine = {key: row for key, (row, _) in shop.rows.items() if key[0] == room and key[1] != "told"}
        assert mine == {key: row for key, (row, _) in again.rows.items() if key[0] == room and key[1] != "told"}


EXPERIMENT = """
[placement.experiment]
name = "order"
window_s = 7200.0
arms = [{ name = "plain" }, { name = "other" }]
[[placement.experiment.metric]]
name = "spent"
per = "person"
upper = 100.0
[[placement.experiment.metric]]
name = "dwell"
role = "guard"
per = "person"
upper = 300.0
"""


def test_an_experiment_hears_of_a_metric_while_it_measures_the_person() -> None:
    """One person who spends 30 and looks for 20 s and, with no end told, for 100: z is the number on [-1/2, 1/2]."""
    shop = Shop(VIEW, outcome(), SPENT, dwell("cap"), experiment=EXPERIMENT).agree("u")
    made = shop.event("kiosk", "u")
    seconds(shop, made, ("start", 1), ("end", 21), ("start", 100))
    shop.buys("u", amount=30.0)
    shop.pass_time(4 * HOUR_MS)
    rows = shop.agent.experiments.by_placement["front"].summary.tables[0]  # type: ignore[union-attr]
    (row,) = [one for one in rows if one[0]]
    assert row[1] == pytest.approx(0.3 - 0.5)
    assert row[6] == pytest.approx(120 / 300 - 0.5)
