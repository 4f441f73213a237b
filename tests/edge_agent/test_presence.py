"""Other people, the kind of device and the place, as features of a bundle in the real agent."""

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide import decision
from edge_agent.effects import Append
from edge_agent.happenings import Happening
from edge_agent.limits import DAY_MS, FUTURE_MS_MAX
from edge_agent.memory.presence import Presence
from firmware_configs.messages import Topics
from models import spec as s
from models.limits import OTHERS_MAX
from tests.edge_agent.house import DEVICE, HOME, NOW, House, bundle

PEOPLE = ("anna", "ben", "cem", "dora")
WINDOW_S, SHORT_S, MOST = 600, 60, 2
CONTEXT: tuple[s.FeatureSpec, ...] = (
    s.OthersPresent(window_s=WINDOW_S),
    s.OthersPresent(window_s=SHORT_S, most=MOST),
    s.DeviceClass(values=("kiosk", "home-gateway")),
)
"""As many columns as the shipped `context` has: its graph runs on them as it is."""
OURS = HOME.replace('learn = [{ source = "room"', 'learn = [{ source = "interaction"').replace(
    'trigger = { kind = "event", source = "room" }', 'trigger = { kind = "event", source = "interaction" }'
)
OURS = OURS.replace(', label_field = "occupied"', ", label = 1.0").replace(" && fields.light > 800.0", " && false")
KEPT = '[retention]\n"user.device" = { days = 7 }\n'
Story = list[tuple[str, str, int]]
"""(what happens, who, seconds since what happened before)."""
STORY = st.lists(
    st.tuples(
        st.sampled_from(["pick", "pick", "pick", "withdraw", "agree", "room", "restart"]),
        st.sampled_from(PEOPLE),
        st.sampled_from([0, 1, 59, 60, 61, 300, 599, 600, 601]),
    ),
    max_size=25,
)


def _house(features: tuple[s.FeatureSpec, ...] = CONTEXT, text: str = OURS) -> House:
    house = House(text, record=True)
    shipped = bundle("context")
    asked = msgspec.structs.replace(shipped.spec.inputs[0], features=features)
    house._models["context"] = msgspec.structs.replace(
        shipped, spec=msgspec.structs.replace(shipped.spec, inputs=(asked,))
    )
    house.agent.models_changed()
    for person in (*PEOPLE, "household"):
        _agree(house, person)
    return house


def _agree(house: House, person: str, *, granted: bool = True) -> None:
    house.consent(person, "personalise", "improve-models", "comfort", granted=granted)


def _served(house: House) -> list[list[float]]:
    trails = [decision.unpack(e.value) for e in house.effects if isinstance(e, Append) and e.shelf == "decision"]
    return [list(trail.features["features"]) for trail in trails if trail.placement == "presence"]


def _live(house: House, story: Story, *, restarts: bool) -> list[list[float]]:
    """Live through it; returns what a count by brute force says at each pick."""
    last: dict[str, int] = {}
    refused: set[str] = set()
    wanted: list[list[float]] = []
    for number, (what, who, seconds) in enumerate(story):
        house.now += seconds * 1_000
        if what == "pick":
            house.tell(house.pick(number, user=who))
            if who not in refused:
                last[who] = house.now
                ages = [house.now - at for other, at in last.items() if other != who]
                near, short = (sum(age < span * 1_000 for age in ages) for span in (WINDOW_S, SHORT_S))
                wanted.append([min(near, 5), min(short, MOST), 0.0, 1.0])
        elif what in {"withdraw", "agree"}:
            house.now += 1
            _agree(house, who, granted=what == "agree")
            if what == "agree":
                refused.discard(who)
            else:
                refused.add(who)
                last.pop(who, None)
        elif what == "room":
            house.tell(house.reading(number))
        elif restarts:
            house.restart()
    return wanted


@settings(max_examples=40, deadline=None)
@given(STORY)
def test_others_are_counted_as_by_hand_and_a_restart_changes_nothing(story: Story) -> None:
    steady, stopped = _house(), _house()
    wanted = _live(steady, story, restarts=False)
    assert _live(stopped, story, restarts=True) == wanted
    assert _served(steady) == wanted
    assert _served(stopped) == wanted
    assert steady.rows.get(("meta", "present")) == stopped.rows.get(("meta", "present"))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PEOPLE), st.integers(-900, 240)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_does_not_matter(events: list[tuple[str, int]], dice: Random) -> None:
    """Late events and those of clocks that run ahead, in one step or in many."""
    shuffled = dice.sample(events, len(events))
    houses = (_house(), _house())
    for house, order in zip(houses, (events, shuffled), strict=True):
        picks = [house.pick(n, user=who, time=house.now / 1_000 + at) for n, (who, at) in enumerate(order)]
        if house is houses[0]:
            house.tell(*picks)
        else:
            for pick in picks:
                house.tell(pick)
    assert houses[0].rows["meta", "present"][0] == houses[1].rows["meta", "present"][0]
    newest = {who: max(at for other, at in events if other == who) for who, _ in events}
    for house in houses:
        _agree(house, "zoe")
        house.tell(house.pick(100, user="zoe"))
        over = max(newest.values()) - WINDOW_S
        assert _served(house)[-1][0] == sum(at > max(-WINDOW_S, over) for at in newest.values())


def test_who_withdraws_leaves_no_trace_even_in_the_same_step() -> None:
    house = _house()
    house.tell(house.pick(1, user="anna"), house.pick(2, user="ben"))
    assert b"anna" in house.rows["meta", "present"][0]
    house.now += 1_000
    no = {"purposes": dict.fromkeys(("personalise", "improve-models", "comfort"), False), "time_ms": house.now}
    house.tell(house.pick(3, user="anna"), house.message(Topics(DEVICE).of("consent", "anna"), no))
    assert b"anna" not in house.rows["meta", "present"][0]
    _agree(house, "ben", granted=False)
    assert ("meta", "present") not in house.rows


def test_who_was_there_longer_ago_than_the_longest_window_is_forgotten() -> None:
    house = _house()
    house.tell(house.pick(1, user="anna"))
    for number, kept in ((2, True), (3, False)):
        house.now += WINDOW_S * 1_000 - 1 if kept else 1
        house.tell(house.pick(number, user="ben"))
        assert (b"anna" in house.rows["meta", "present"][0]) == kept


@settings(max_examples=15, deadline=None)
@given(STORY)
def test_a_journal_replays_to_the_same_rows(story: Story) -> None:
    house, again = _house(), _house()
    _live(house, story, restarts=True)
    for row in [one for one in house.shelves.values() if one.shelf == "journal"]:
        again.now = row.made_ms
        again.tell(msgspec.msgpack.decode(row.value, type=Happening))
    assert _served(again) == _served(house)


def test_a_withdrawal_counts_after_the_bundle_that_asked_is_gone() -> None:
    house = _house()
    house.tell(house.pick(1, user="anna"))
    house._models["context"] = bundle("context")
    house.restart()
    _agree(house, "anna", granted=False)
    assert ("meta", "present") not in house.rows


def test_nothing_is_kept_of_others_while_no_bundle_asks() -> None:
    house = House(OURS)
    _agree(house, "anna")
    house.tell(house.pick(1, user="anna"))
    assert ("meta", "present") not in house.rows


def test_what_is_kept_expires_with_the_shortest_retention() -> None:
    house = _house()
    house.tell(house.pick(1, user="anna"))
    assert house.rows["meta", "present"][1] == house.now + 7 * DAY_MS


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50)), max_size=60), st.integers(1, 8), st.randoms())
def test_of_more_people_than_are_held_a_capped_count_stays_exact(
    events: list[tuple[int, int]], most: int, dice: Random
) -> None:
    small, shuffled, large = Presence(most + 1), Presence(most + 1), Presence(1_000)
    for presence, order in ((small, events), (shuffled, dice.sample(events, len(events))), (large, events)):
        for who, at in order:
            presence.hear(f"p{who}", NOW + at, 1_000, NOW)
    assert small.pack() == shuffled.pack()
    for who in range(4):
        for window in (1, 10, 60):
            asked = (f"p{who}", NOW + 50, window, most)
            assert small.others(*asked) == large.others(*asked)


def test_a_clock_that_came_back_dates_nobody_after_now() -> None:
    presence = Presence(OTHERS_MAX)
    presence.hear("anna", NOW + 20 * 365 * DAY_MS, 60_000, NOW + 20 * 365 * DAY_MS)
    assert presence.hear("ben", NOW, 60_000, NOW)
    assert presence.others("cem", NOW, 60_000, 5) == 2.0
    assert presence.others("cem", NOW + FUTURE_MS_MAX, 60_000, 5) == 0.0


@pytest.mark.parametrize(("latitude", "columns"), [(52.57, [1.0, 0.0]), (-0.03, [0.0, 1.0]), (48.1, [0.0, 0.0])])
def test_a_coarse_location_is_a_one_hot(latitude: float, columns: list[float]) -> None:
    field = """[[source.field]]
name = "latitude"
category = "user.device"
purposes = ["personalise"]
transform = { kind = "coarse-location", cell_degrees = 0.1 }

[[source]]
name = "room"
"""
    text = OURS.replace('[[source]]\nname = "room"\n', field).replace("[retention]\n", KEPT)
    where = s.OneHot(field="latitude", values=("52.5", "-0.1"))
    house = _house((where, s.Constant(value=1.0), s.Constant(value=1.0)), text)
    house.tell(house.pick(1, user="anna", latitude=latitude))
    assert _served(house)[-1][:2] == columns
