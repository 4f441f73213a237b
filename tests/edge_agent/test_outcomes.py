"""Outcomes that come as events: credited to the person's decisions, once, wherever they were shown."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.agent import step
from edge_agent.effects import Append
from edge_agent.learn import touches
from edge_agent.limits import CLOCKS_AGREE_MS, TOUCHES_MAX
from tests.edge_agent.house import NOW, House
from tests.edge_agent.shop import DAY_MS, HOUR_MS, VIEW, Household, Shop, metric, outcome

ANN = Household(phone="ann", kiosk="ann")
MODELS = (
    "last-touch",
    "first-touch",
    "linear",
    '{ kind = "time-decay", half_life_s = 900.0 }',
    '{ kind = "position-based", first = 0.5, last = 0.25 }',
)


def test_a_purchase_is_credited_to_what_another_device_of_the_person_showed() -> None:
    shop = Shop(outcome(), people=ANN).agree("phone", "kiosk", "ann")
    made = shop.event("kiosk", "kiosk")
    shop.now += 60_000
    shop.buys("phone")
    assert shop.credits() == [(made, 1.0)]
    (found,) = shop.earned()
    assert (found.metric, found.value, found.outcome, found.by) == ("reward", 0.5, "purchase", "last-touch")


def test_somebody_elses_purchase_is_not() -> None:
    shop = Shop(outcome(), people=ANN).agree("phone", "kiosk", "ann", "bob")
    shop.event("kiosk", "kiosk")
    shop.buys("bob")
    assert shop.credits() == []
    assert shop.agent.counters["outcomes.purchase.uncredited"] == 1


def test_a_reward_is_the_credits_share_of_the_value() -> None:
    shop = Shop(outcome("linear")).agree("u")
    shop.event("kiosk", "u")
    shop.now += 1_000
    shop.event("app", "u")
    shop.buys("u", amount=50.0)
    assert [one.value for one in shop.earned("reward")] == [0.5, 0.5]


def test_a_policy_learns_from_what_is_bought() -> None:
    shop = Shop(outcome()).agree("u")
    for _ in range(40):
        shop.event("kiosk", "u")
        shop.buys("u", amount=50.0 if shop.decisions()[-1].items == ("bread",) else 0.0)
    assert [made.items for made in shop.decisions()[-20:]].count(("bread",)) >= 17


def test_without_reward_an_outcome_is_only_counted() -> None:
    shop = Shop(outcome(more="reward = false")).agree("u")
    shop.event("kiosk", "u")
    shop.buys("u", amount=20.0)
    assert [(one.metric, one.value) for one in shop.earned()] == [("purchase", 20.0)]
    assert not [key for key in shop.rows if key[0] == "bandit"]


def test_only_what_holds_the_item_or_was_seen_is_credited() -> None:
    by_item = Shop(outcome(credit='window_s = 3600.0, item = "bought"')).agree("u")
    made = by_item.event("kiosk", "u")
    shown = by_item.decisions()[-1].items[0]
    by_item.buys("u", item="milk" if shown == "bread" else "bread")
    assert by_item.credits() == []
    by_item.buys("u", item=shown)
    assert by_item.credits() == [(made, 1.0)]

    by_view = Shop(VIEW, outcome(credit="window_s = 3600.0, seen = true")).agree("u")
    seen, unseen = by_view.event("kiosk", "u"), by_view.event("kiosk", "u")
    by_view.event("screen", "u", phase="start", decision=seen)
    by_view.now += 5_000
    by_view.buys("u")
    assert unseen
    assert by_view.credits() == [(seen, 1.0)]


def test_the_window_holds_to_the_millisecond_by_event_time() -> None:
    shop = Shop(outcome()).agree("u")
    made = shop.event("kiosk", "u")
    start = shop.now
    shop.now += HOUR_MS + 60_000
    shop.buys("u", at_ms=start + HOUR_MS + 1)
    shop.buys("u", at_ms=start - CLOCKS_AGREE_MS - 1)
    assert shop.credits() == []
    shop.buys("u", at_ms=start + HOUR_MS)
    shop.buys("u", at_ms=start - CLOCKS_AGREE_MS)
    assert shop.credits() == [(made, 1.0), (made, 1.0)]


def test_a_late_outcome_goes_to_what_came_before_it_and_not_after() -> None:
    shop = Shop(outcome()).agree("u")
    first = shop.event("kiosk", "u")
    bought_ms = shop.now + 60_000
    shop.now += 120_000
    shop.event("kiosk", "u")
    shop.buys("u", at_ms=bought_ms)
    assert shop.credits() == [(first, 1.0)]


def test_an_outcome_after_everything_was_closed_is_counted_and_credited_to_nobody() -> None:
    shop = Shop(outcome()).agree("u")
    shop.event("kiosk", "u")
    bought_ms = shop.now + 1_000
    shop.pass_time(2 * HOUR_MS)
    shop.buys("u", at_ms=bought_ms)
    assert shop.credits() == []
    assert shop.agent.counters["outcomes.purchase.uncredited"] == 1


def test_what_did_not_leave_is_no_touch() -> None:
    shop = Shop(outcome()).agree("u")
    shop.agent.gate.ledger._declared.pop("decision")
    shop.event("kiosk", "u")
    shop.buys("u")
    assert shop.credits() == []


@settings(max_examples=40, deadline=None)
@given(
    model=st.sampled_from(MODELS),
    moves=st.lists(st.tuples(st.sampled_from(["kiosk", "app", "till"]), st.integers(0, HOUR_MS)), max_size=12),
)
def test_credits_of_one_purchase_add_up_to_one_or_to_nothing(model: str, moves: list[tuple[str, int]]) -> None:
    shop = Shop(outcome(model)).agree("u")
    for source, later in moves:
        shop.now += later
        before = len(shop.credits())
        if source == "till":
            shop.buys("u")
            shares = [share for _, share in shop.credits()[before:]]
            assert not shares or sum(shares) == pytest.approx(1.0)
            assert all(0.0 < share <= 1.0 for share in shares)
        else:
            shop.event(source, "u")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["kiosk", "app", "till", "tick", "click"]), max_size=14), st.data())
def test_redelivery_and_restart_credit_nothing_twice(moves: list[str], data: st.DataObject) -> None:
    parts = (outcome("linear", 'paths = "channel"'), metric("bought", '{ kind = "rate", outcomes = ["purchase"] }'))
    steady, shaken = Shop(*parts).agree("u"), Shop(*parts).agree("u")
    for move in moves:
        again, dies = data.draw(st.booleans()), data.draw(st.booleans())
        for shop in (steady, shaken):
            shop.now += HOUR_MS
            if move == "tick":
                shop.pass_time(DAY_MS, step_ms=6 * HOUR_MS)
            elif move == "click":
                if shop.decisions():
                    shop.answer(shop.decisions()[-1].id)
            else:
                shop.event(move, "u", **({"amount": 10.0} if move == "till" else {}))
        if again and move in {"kiosk", "app", "till"}:
            shaken.tell(shaken.last)
        if dies:
            shaken.restart()
    for shop in (steady, shaken):
        shop.pass_time(3 * DAY_MS, step_ms=6 * HOUR_MS)
    assert steady.earned() == shaken.earned()
    for room in ("touch", "due", "metric"):
        mine = {key: row for key, row in steady.rows.items() if key[0] == room}
        assert mine == {key: row for key, row in shaken.rows.items() if key[0] == room}


def test_a_step_that_is_not_committed_credits_nothing() -> None:
    shop = Shop(outcome()).agree("u")
    shop.event("kiosk", "u")
    word = shop.message("shop/home-1/till", {"id": "t", "user": "u", "time": shop.now, "amount": 5.0})
    step(shop.agent, [word], shop.now)
    shop.restart()
    shop.tell(word)
    assert len(shop.credits()) == 1


def test_who_withdraws_is_forgotten_with_what_was_open() -> None:
    shop = Shop(outcome(), metric("bought", '{ kind = "rate", outcomes = ["purchase"] }')).agree("u")
    shop.event("kiosk", "u")
    shop.now += 1_000
    shop.consent("u", "recommend", granted=False)
    assert not [key for key in shop.rows if key[0] in {"touch", "due"}]
    shop.now += 1_000
    shop.agree("u")
    shop.buys("u")
    assert shop.credits() == []


def test_touches_are_bounded_and_the_newest_stay() -> None:
    shop = Shop(outcome("linear")).agree("u")
    made = [shop.event("kiosk", "u") for _ in range(TOUCHES_MAX + 5)]
    shop.buys("u")
    assert [identity for identity, _ in shop.credits()] == made[-TOUCHES_MAX:]


def test_nothing_is_kept_once_nothing_can_come_any_more() -> None:
    shop = Shop(outcome(more='paths = "channel"')).agree("u")
    shop.event("kiosk", "u")
    shop.pass_time(3 * HOUR_MS)
    assert not [key for key in shop.rows if key[0] in {"touch", "due"}]


def test_paths_are_counted_with_what_they_led_to() -> None:
    shop = Shop(outcome(more='paths = "channel"')).agree("u", "v", "w")
    for subject in ("u", "v"):
        shop.event("kiosk", subject)
        shop.now += 1_000
        shop.event("app", subject)
    shop.buys("u", amount=10.0)
    shop.buys("w", amount=20.0)
    shop.pass_time(DAY_MS)
    assert shop.paths() == {("display", "app"): (1, 1), (): (1, 0)}


def test_a_profile_without_outcomes_loads_none_of_it() -> None:
    house = House().everyone_agrees()
    house.tell(house.pick(1))
    assert house.agent.outcomes is None
    assert not [e for e in house.effects if isinstance(e, Append) and e.shelf == "outcome"]


@given(st.binary(max_size=80))
def test_any_bytes_are_a_track_or_refused(raw: bytes) -> None:
    try:
        track = touches.unpack(raw)
    except msgspec.MsgspecError:
        return
    assert touches.unpack(touches.pack(track)) == track


def test_a_track_that_cannot_be_read_is_begun_anew_and_counted() -> None:
    shop = Shop(outcome()).agree("u")
    shop.rows["touch", "u"] = (b"\xc1", 0)
    made = shop.event("kiosk", "u")
    shop.buys("u")
    assert shop.credits() == [(made, 1.0)]
    assert shop.agent.counters["outcomes.unreadable"] == 1
    assert shop.now == NOW
