"""A placement's budget of time, on the shell's own watch: over it it steps down, says so, and all else goes on."""

import msgspec

from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.happenings import Happening
from edge_agent.shell.clock import Watch
from edge_agent.shell.record import _recorded_verdicts
from tests.edge_agent.house import HOME, PERSON, House
from tests.edge_agent.trial_house import TrialHouse

QUICK_S, SLOW_S = 0.001, 0.2
BOOST = """[[placement.rule]]
name = "evening-light"
when = "item == 'lights-on' && fields.light < 100.0"
effect = "boost"
value = 2.0
reason = "It is dark."

[[placement.rule]]
name = "bright-enough\""""


class TimedHouse(TrialHouse):
    """A home whose model of the room takes its time."""

    def __init__(self, text: str = HOME, *, record: bool = False) -> None:
        self.watch = Watch(lambda: self.clock_s)
        super().__init__(home=text, record=record)
        self.takes_each(QUICK_S)
        self.everyone_agrees()

    def _over_budget(self, decision_: str, budget_ms: float) -> bool:
        return self.watch.over_budget(decision_, budget_ms)

    def takes_each(self, seconds: float) -> None:
        """How long a call takes from now on."""
        self.shelf.faults["context", "1.0.0"] = self.takes(seconds)

    def newest(self, placement: str = "presence") -> Trail:
        """The newest decision's trail."""
        made = [one for one in self.decisions() if one.placement == placement][-1]
        return decision.unpack(self.shelves["decision", made.id].value)


def test_over_the_budget_the_newest_decision_for_the_subject_is_taken_while_it_is_fresh() -> None:
    home = TimedHouse()
    home.read_room(1)
    first = home.newest()
    assert first.fallback == ""
    home.takes_each(SLOW_S)
    home.read_room(1, start=1)
    assert home.newest().fallback == "cached"
    assert home.newest().items == first.items
    assert home.newest().fallback_reason == "over the budget of 50 ms"
    assert home.agent.counters["fallback.cached"] == 1


def test_without_a_fresh_one_the_rules_decide_and_without_rules_the_default() -> None:
    home = TimedHouse(HOME.replace('[[placement.rule]]\nname = "bright-enough"', BOOST))
    home.takes_each(SLOW_S)
    home.tell(home.reading(1, light=50.0))
    assert (home.newest().fallback, home.newest().items) == ("rules", ("lights-on",))
    home.tell(home.reading(2, light=400.0))
    assert (home.newest().fallback, home.newest().items) == ("default", ("lights-off",))
    assert [home.agent.counters[f"fallback.{rung}"] for rung in ("rules", "default")] == [1, 1]


def test_an_old_decision_is_not_taken_from_the_cache() -> None:
    home = TimedHouse()
    home.read_room(1)
    home.takes_each(SLOW_S)
    home.now += 61_000  # expiry_s = 60
    home.read_room(1, start=1)
    assert home.newest().fallback == "default"


def test_without_any_rung_nothing_is_decided_and_it_is_counted() -> None:
    home = TimedHouse(HOME.replace('fallback = "lights-off"\n', ""))
    home.takes_each(SLOW_S)
    home.read_room(1)
    assert home.decisions() == []
    assert home.agent.counters["undecided"] == 1


def test_what_a_rule_denies_no_rung_takes() -> None:
    home = TimedHouse(HOME.replace('fallback = "lights-off"', 'fallback = "lights-on"'))
    home.takes_each(SLOW_S)
    home.tell(home.reading(1, light=900.0))
    assert home.decisions() == []


def test_what_a_restart_forgot_a_replay_does_not_remember() -> None:
    home = TimedHouse(record=True)
    home.read_room(1)
    home.restart()
    home.takes_each(SLOW_S)
    home.read_room(1, start=1)
    made = {row.id: decision.unpack(row.value) for row in home.shelves.values() if row.shelf == "decision"}
    assert home.newest().fallback == "default"
    again = House(home.text, models=("affinity", "context"))
    again._over_budget = _recorded_verdicts(made)  # type: ignore[assignment]
    again.restart()
    for row in [a for a in home.shelves.values() if a.shelf == "journal"]:
        again.now = row.made_ms
        again.tell(msgspec.msgpack.decode(row.value, type=Happening))
    assert {i: decision.unpack(again.shelves["decision", i].value) for i in made} == made


def test_other_placements_and_later_decisions_are_not_touched() -> None:
    home = TimedHouse()
    home.takes_each(SLOW_S)
    home.tell(home.reading(1), home.pick(1), home.reading(2), home.pick(2))
    assert home.newest("next-pick").fallback == ""
    assert home.newest("next-pick").subject == PERSON
    assert home.newest().fallback == "default"
    home.takes_each(QUICK_S)
    home.read_room(1, start=3)
    assert home.newest().fallback == ""
