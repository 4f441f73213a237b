"""Standing choices and popular items: steady, bounded, safe across restarts, and replayed bit for bit."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.caches import Liked, add, ranked
from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.happenings import Happening
from edge_agent.limits import POPULAR_MAX
from firmware_configs.messages import Feedback, Topics
from tests.edge_agent.house import DEVICE, HOME, House

FALLBACK = 'fallback = "lights-off"\n'


def _house(stability: str, *, record: bool = False, over_budget: bool = False) -> House:
    text = HOME.replace(FALLBACK, f"{FALLBACK}{stability}\n", 1)
    return House(text, record=record, over_budget=over_budget).everyone_agrees()


def _trail(house: House) -> Trail:
    return decision.unpack(house.shelves["decision", house.decisions()[-1].id].value)


def test_a_choice_holds_for_its_time_and_no_longer_across_a_restart() -> None:
    house = _house("stability = { hold_s = 60.0 }")
    house.tell(house.reading(1, light=420.0))
    assert house.decisions()[-1].items == ("lights-on",)
    house.restart()
    house.now += 59_000
    house.tell(house.reading(2, light=0.0, temperature=10.0))
    trail = _trail(house)
    assert (trail.items, trail.fallback, trail.propensity) == (("lights-on",), "standing", 1.0)
    assert trail.fallback_reason == "decided 59 s ago, which holds for 60 s"
    house.now += 1_000
    house.tell(house.reading(3, light=0.0, temperature=10.0))
    assert _trail(house).fallback == ""


def test_a_choice_that_is_no_longer_allowed_does_not_hold() -> None:
    house = _house("stability = { hold_s = 600.0 }")
    house.tell(house.reading(1))
    house.now += 1_000
    house.tell(house.reading(2, light=900.0))
    trail = _trail(house)
    assert (trail.items, trail.fallback) == (("lights-off",), "")


def test_another_item_must_be_better_by_the_margin() -> None:
    plain, sticky = _house(""), _house("stability = { switch_margin = 2.0 }")
    for house in (plain, sticky):
        house.tell(house.reading(1))
        house.now += 1_000
        house.tell(house.reading(2, light=0.0, temperature=10.0, co2=400.0))
    assert [one.items[0] for one in plain.decisions()] == ["lights-on", "lights-off"]
    assert [one.items[0] for one in sticky.decisions()] == ["lights-on", "lights-on"]
    trail = _trail(sticky)
    assert (trail.fallback, trail.propensity) == ("", 1.0)


def test_the_popular_item_is_taken_when_the_model_cannot_be_asked() -> None:
    house = _house("popular = { half_life_s = 3600.0 }")
    house.tell(house.reading(1))
    word = Feedback(decision_id=house.decisions()[-1].id, outcome="accepted")
    house.tell(house.message(Topics(DEVICE).of("feedback"), msgspec.to_builtins(word)))
    late = _house("popular = { half_life_s = 3600.0 }", over_budget=True)
    late.rows = dict(house.rows)
    late.restart()
    late.tell(late.reading(2))
    assert (_trail(late).items, _trail(late).fallback) == (("lights-on",), "popular")
    late.tell(late.reading(3, light=900.0))
    assert (_trail(late).items, _trail(late).fallback) == (("lights-off",), "default")


@pytest.mark.parametrize("stability", ["stability = { hold_s = 5.0 }", "stability = { switch_margin = 0.3 }"])
def test_a_replay_decides_the_same(stability: str) -> None:
    house = _house(stability, record=True)
    for number, light in enumerate([420.0, 0.0, 600.0, 5.0, 0.0, 420.0]):
        house.now += 2_000
        house.tell(house.reading(number, light=light, temperature=20.0 + number))
    again = House(HOME.replace(FALLBACK, f"{FALLBACK}{stability}\n", 1))
    for (shelf, _), row in house.shelves.items():
        if shelf == "journal":
            again.now = row.made_ms
            again.tell(msgspec.msgpack.decode(row.value, type=Happening))
    kept = {key: row.value for key, row in house.shelves.items() if key[0] == "decision"}
    assert kept == {key: row.value for key, row in again.shelves.items() if key[0] == "decision"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0.01, 1.0), st.integers(-5, 5)), max_size=600))
def test_liked_items_are_bounded_and_the_most_liked_stay(given_rewards: list[tuple[int, float, int]]) -> None:
    liked: Liked = {}
    now = 1_000_000
    for item, value, seconds in given_rewards:
        now += seconds * 1_000
        add(liked, f"i{item}", value, 60.0, now)
        assert len(liked) <= POPULAR_MAX
    add(liked, "best", 1_000.0, 60.0, now)
    assert ranked(liked, 60.0, now)[0] == "best"
