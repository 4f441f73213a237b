"""Clocks that are wrong, theirs and ours: nothing is lost, nothing is repeated, nobody is silenced."""

import pytest

from edge_agent.decide import channel
from edge_agent.happenings import Tick
from edge_agent.limits import DAY_MS, FUTURE_MS_MAX
from firmware_configs import profile as p
from firmware_configs.messages import Topics
from tests.edge_agent.house import DEVICE, HOME, PERSON, House

YEARS_MS = 14 * 365 * DAY_MS
SIDE = HOME.replace('late = "apply"', 'late = "side"')


def _house(text: str = HOME) -> House:
    return House(text).everyone_agrees()


def _side_output() -> str:
    egress = '[[egress]]\nkind = "late-event"\npurposes = ["comfort"]\nbytes_day_max = 100_000\n'
    return SIDE if 'kind = "late-event"' in HOME else f"{SIDE}\n{egress}"


def test_a_late_event_goes_to_the_side_minimised_entered_and_once() -> None:
    house = _house(_side_output())
    house.tell(house.reading(1))
    decided = len(house.decisions())
    late = house.reading(2, time=house.now / 1_000 - 3_600, secret="must not leave")
    house.tell(late)
    house.tell(late)
    sides = [send for send in house.sent if send.topic == Topics(DEVICE).of("late", "room")]
    assert len(sides) == 1
    assert sides[0].entered.kind == "late-event"
    assert b'"id":"room:r2"' in sides[0].payload
    assert b"must not leave" not in sides[0].payload
    assert len(house.decisions()) == decided
    assert house.agent.counters["late.room"] == 1
    assert house.agent.counters["duplicates"] == 1


def test_an_event_within_its_lateness_is_not_late() -> None:
    house = _house(_side_output())
    lateness_s = house.agent.sources["room"].watermark.lateness_ms / 1_000
    house.tell(house.reading(1), house.reading(2, time=house.now / 1_000 - lateness_s))
    assert "late" not in house.agent.counters


def test_a_device_that_runs_ahead_makes_no_others_late() -> None:
    house = _house(_side_output())
    house.tell(house.reading(1, time=(house.now + FUTURE_MS_MAX) / 1_000))
    house.tell(house.reading(2))
    assert "late" not in house.agent.counters


def test_the_device_is_complete_up_to_its_slowest_source_that_is_not_idle() -> None:
    house = _house()
    house.tell(house.reading(1), house.pick(1))
    slowest = max(s.watermark.lateness_ms for s in house.agent.sources.values() if s.watermark.heard_ms)
    assert house.agent.combined.at(house.now) == house.now - slowest


def test_redelivery_after_our_clock_leapt_repeats_nothing() -> None:
    house = _house()
    message = house.reading(1)
    house.tell(message)
    decided = len(house.decisions())
    house.settled = house.now + 1_000
    house.now += YEARS_MS
    house.tell(Tick(), message)
    house.restart()
    house.tell(Tick(), message)
    assert len(house.decisions()) == decided
    assert house.agent.counters["duplicates"] >= 1


def test_after_our_clock_was_ahead_features_sessions_and_status_go_on() -> None:
    house = _house()
    house.tell(house.reading(1))
    house.settled = house.now
    house.now += YEARS_MS
    house.tell(house.reading(2), Tick())
    house.now, house.settled = house.now - YEARS_MS + 1_000, None
    house.sent.clear()
    house.tell(house.reading(3, light=77.0), Tick())
    state = house.agent.profile_of("household")
    assert state.newest_ms == house.now
    assert state.session(house.now)["events"] >= 1.0
    model = house.agent.doors.models["context"]
    row = house.agent.features.row(model.spec.inputs[0], state, house.now, (12, 1))
    assert 77.0 in row.tolist()[0]
    assert any(send.topic == Topics(DEVICE).of("status") for send in house.sent)
    assert "late" not in house.agent.counters


def test_a_person_can_withdraw_after_a_word_from_a_clock_that_was_ahead() -> None:
    house = _house()
    house.now += YEARS_MS
    house.consent(PERSON, "personalise")
    house.now -= YEARS_MS
    house.consent(PERSON, "personalise", "improve-models", granted=False)
    assert not house.agent.consents.granted(PERSON)
    house.restart()
    assert not house.agent.consents.granted(PERSON)


@pytest.mark.parametrize("ahead_ms", [0, 60_000, YEARS_MS])
def test_a_cap_counts_what_a_small_step_back_leaves_ahead_and_forgets_a_leap(ahead_ms: int) -> None:
    caps = [p.Cap(count=1, per_s=3_600)]
    now = 1_800_000_000_000
    assert (channel.capped([now + ahead_ms], caps, now) is None) == (ahead_ms > FUTURE_MS_MAX)


def test_sessions_have_the_gap_that_their_source_declares() -> None:
    text = HOME.replace('late = "apply"', 'late = "apply"\nsession_gap_s = 10.0')
    house = _house(text)
    house.tell(house.reading(1))
    house.now += 10_000
    house.tell(house.reading(2))
    assert house.agent.profile_of("household").session(house.now) == {"events": 2.0, "seconds": 10.0}
    house.now += 10_001
    assert house.agent.profile_of("household").session(house.now) == {"events": 0.0, "seconds": 0.0}
    house.tell(house.reading(3))
    assert house.agent.profile_of("household").session(house.now) == {"events": 1.0, "seconds": 0.0}
