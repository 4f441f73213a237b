"""Alerts of a whole agent: they leave by the ledger, once, and survive a restart."""

import msgspec
import pytest

from edge_agent.alerts import Alerts, Finding
from edge_agent.batch import Batch
from edge_agent.effects import Log
from edge_agent.happenings import Tick
from firmware_configs import histogram
from firmware_configs.errors import ProfileError
from firmware_configs.loader import parse
from firmware_configs.messages import Alert
from tests.edge_agent.house import DEVICE, HOME, House

MINUTE = 60_000


def _alerts(house: House) -> list[Alert]:
    return [msgspec.json.decode(sent.payload, type=Alert) for sent in house.sent if sent.topic.endswith("/alert")]


def _minutes(house: House, count: int, events: int, start: int) -> int:
    """Each minute some readings, which decide, and a tick."""
    for _ in range(count):
        for _ in range(events):
            house.tell(house.reading(start, light=100.0 + start % 7))
            start += 1
        house.now += MINUTE
        house.tell(Tick())
    return start


@pytest.fixture
def house() -> House:
    """A home whose budgets are always overrun: each decision falls back."""
    return House(over_budget=True).everyone_agrees()


def test_decisions_that_fall_back_page_once_and_are_over_when_they_no_longer_do(house: House) -> None:
    start = _minutes(house, 10, 3, 0)
    (told,) = _alerts(house)
    assert (told.kind, told.name, told.state, told.severity) == ("burn-rate", "presence-by-model", "firing", "page")
    assert (told.device, told.placement) == (DEVICE, "presence")
    assert told.value >= told.threshold
    assert "fell back" in told.what
    house._over = False
    _minutes(house, 90, 3, start)
    house.now += 7 * 60 * MINUTE
    house.tell(Tick())
    _, less, over = _alerts(house)
    assert (less.state, less.severity, over.state) == ("firing", "ticket", "resolved")
    assert over.since_ms == told.since_ms


def test_an_alert_is_in_the_ledger_and_in_the_log(house: House) -> None:
    _minutes(house, 10, 3, 0)
    (sent,) = [sent for sent in house.sent if sent.topic.endswith("/alert")]
    assert sent.entered.kind == "alert"
    logged = [effect for effect in house.effects if isinstance(effect, Log) and effect.code == "alert.burn-rate"]
    assert [one.level for one in logged] == ["warning"]


def test_a_restart_neither_repeats_an_alert_nor_forgets_to_end_it(house: House) -> None:
    start = _minutes(house, 10, 3, 0)
    house.restart()
    _minutes(house, 5, 0, start)
    assert len(_alerts(house)) == 1
    assert [one.name for one in house.agent.alerts.firing.values()] == ["presence-by-model"]


def test_what_nobody_watches_any_more_is_over(house: House) -> None:
    _minutes(house, 10, 3, 0)
    house.loaded = parse(HOME.replace('name = "presence-by-model"', 'name = "another"'))
    house.restart()
    house.tell(Tick())
    assert [one.state for one in _alerts(house)] == ["firing", "resolved"]


def test_a_profile_that_lets_no_alert_out_logs_and_counts_it() -> None:
    closed = HOME.replace('kind = "alert"', 'kind = "metric"')
    house = House(closed, over_budget=True).everyone_agrees()
    _minutes(house, 10, 3, 0)
    assert _alerts(house) == []
    assert house.agent.counters["alerts.burn-rate"] == 1
    assert not [name for name in house.agent.counters if name.startswith("withheld.alert")]


def test_the_same_finding_is_told_once_and_another_severity_again() -> None:
    house = House()
    alerts, batch = house.agent.alerts, Batch(house.now, house.now)
    page = Finding(severity="page", what="w", value=1.0, threshold=1.0)
    for finding in (page, page, msgspec.structs.replace(page, severity="ticket"), None, None):
        alerts.tell("drift", "inputs", finding, batch)
    house.commit(batch.close())
    told = [(one.state, one.severity) for one in _alerts(house)]
    assert told == [("firing", "page"), ("firing", "ticket"), ("resolved", "ticket")]


def test_what_fired_is_taken_up_as_it_was() -> None:
    house = House()
    batch = Batch(house.now, house.now)
    house.agent.alerts.tell("drift", "inputs", Finding(severity="page", what="w", value=2.0, threshold=1.0), batch)
    house.commit(batch.close())
    again = Alerts(DEVICE, house.agent.gate, {}, [("drift", "inputs")])
    again.restore(house.rows["meta", "alerts"][0])
    assert again.firing == house.agent.alerts.firing


def test_failed_rounds_burn_their_own_budget() -> None:
    text = HOME.replace(
        "[sensitive]", '[[objective]]\nname = "rounds"\nindicator = "rounds"\ntarget = 0.9\n[sensitive]'
    )
    house = House(text)
    house.agent.counters["rounds.failed"] = 70  # before: another life's
    house.tell(Tick())
    assert _alerts(house) == []
    house.now += MINUTE
    house.agent.counters["rounds.failed"] += 6
    house.tell(Tick())
    (told,) = _alerts(house)
    assert told.name == "rounds"
    assert told.placement == ""


def test_a_choice_that_is_held_on_purpose_is_no_falling_back() -> None:
    house = House()
    house.agent.placements["presence"].rungs.update({"standing": 50, "": 5, "popular": 2})
    house.tell(Tick())
    assert house.agent.objectives is not None
    told = house.agent.objectives.told(house.now)["presence-by-model"]
    assert (told.good, told.bad) == (55, 2)


def test_what_came_within_the_bound_is_in_time_and_what_came_in_the_next_bucket_is_not() -> None:
    house = House()
    last = histogram.bucket_of(150.0)
    lags = {"presence": histogram.told({0: 2, last: 3, last + 1: 4})}
    house.agent.doors = msgspec.structs.replace(house.agent.doors, lags=lambda: ({}, lags))
    house.tell(Tick())
    assert house.agent.objectives is not None
    told = house.agent.objectives.told(house.now)["presence-in-time"]
    assert (told.good, told.bad) == (5, 4)
    assert told.left == pytest.approx(1 - 4 / 9 / 0.01)


def test_a_damaged_row_begins_a_budget_anew() -> None:
    house = House()
    house.rows["meta", "burn:presence-by-model"] = (b"\xc1", 0)
    house.restart()
    assert house.agent.counters["objectives.unreadable"] == 1
    house.tell(Tick())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('placement = "presence"\ntarget = 0.95', 'placement = "presence"\ntarget = 0.95\nwithin_ms = 5.0'),
        ('indicator = "fallback"\nplacement = "presence"', 'indicator = "fallback"\nplacement = "nowhere"'),
        ('indicator = "fallback"\nplacement = "presence"', 'indicator = "rounds"\nplacement = "presence"'),
        ("target = 0.95", "target = 1.0"),
    ],
)
def test_an_objective_that_nothing_can_meet_is_refused_with_its_place(change: str, said: str) -> None:
    assert change in HOME
    with pytest.raises(ProfileError, match=r"objective"):
        parse(HOME.replace(change, said))
