"""A decision in words: what a support person reads, word for word."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from edge_agent.commands.group import main
from edge_agent.decide.decision import Fired, Kin, Scored, Trail
from edge_agent.explaining import in_words, nothing_in_words
from edge_agent.happenings import Tick
from edge_agent.learn.earned import Earned
from edge_agent.limits import WITHHELD_MAX
from edge_agent.shell import database
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from edge_agent.withheld import Withheld, unpack
from tests.edge_agent.house import HOME, NOW, House

BARE = Trail(
    id="3f2a91" + "0" * 26,
    placement="shelf",
    event_id="visit:8812",
    subject="ana",
    trigger="visit",
    fields={"room": "kitchen", "light": 210.0},
    candidates=3,
    eligible=2,
    items=("tea",),
    score=0.25,
    propensity=1.0,
    policy="best",
    channel="app",
    profile="0123456789abcdef",
    event_time_ms=NOW,
    decided_ms=NOW,
)
STOP = """
[[placement.rule]]
name = "not-in-the-dark"
when = "fields.light < 1.0"
effect = "stop"
reason = "Nobody wants the light switched in the dark."
"""
AFTER = 'reason = "There is daylight enough."\n'


def test_a_choice_that_explored_in_an_experiment() -> None:
    found = msgspec.structs.replace(
        BARE,
        top=(Scored("coffee", 0.5, True), Scored("soup", 0.4, False), Scored("tea", 0.25, True)),
        rules=(
            Fired("no-soup", "deny", "It is sold out", 1),
            Fired("mornings", "boost", "People drink in the morning.", 2),
            Fired("never-hot", "stop", "It burns.", 1),
        ),
        rules_untold=2,
        policy="epsilon-greedy",
        propensity=0.05,
        held="budget",
        experiment="order",
        arm="b",
        arm_probability=0.5,
        bundles={"taste": "1.2.0"},
    )
    earned = Earned(found.id, "tea", "reward", 1.0, "click", NOW + 42_000)
    assert in_words(found, [earned]) == [
        "Decision 3f2a9100000000000000000000000000",
        "What was decided",
        "  tea was chosen at shelf, 2027-01-15 08:00:00 UTC.",
        "For whom",
        "  For ana.",
        "Why now",
        "  An event of visit came in (visit:8812).",
        "  It said: room = kitchen, light = 210.",
        "Why this",
        "  Of 3 candidates, 2 could be chosen.",
        "    coffee: score 0.5000",
        "    soup: score 0.4000 (ruled out)",
        "  * tea: score 0.2500",
        "What the rules said",
        "  Rule no-soup forbade 1 candidate: It is sold out.",
        "  Rule mornings changed the score of 2 candidates: People drink in the morning.",
        "  Rule never-hot barred 1 candidate, whatever else: It burns.",
        "  2 further rules applied.",
        "Chance",
        "  Policy epsilon-greedy rolls dice: what was chosen had a chance of 5 %.",
        "  It was chosen to learn more: coffee had the better score.",
        "  It explored less than it would have: the exploration budget was spent.",
        "Experiment",
        "  experiment order: arm b, into which 50 % of its people come by the profile's shares.",
        "How it went out",
        "  By app.",
        "What came of it",
        "  click on tea, 42 s later: reward 1.",
        "Versions",
        "  Models: taste 1.2.0; profile 0123456789ab.",
    ]


def test_a_fallback_on_request_for_nobody_whose_command_was_held_back() -> None:
    found = msgspec.structs.replace(
        BARE,
        subject="household",
        trigger="request",
        event_id="request:shelf:household:1",
        fields={},
        fallback="default",
        fallback_reason="over the budget of 50 ms",
    )
    held = Withheld("actuator", "limit not-when-hot: It burns.", found.event_id, "", NOW, found.id)
    assert in_words(found, (), [held])[3:] == [
        "For whom",
        "  For the household or device itself, for nobody in particular.",
        "Why now",
        "  A request came in (request:shelf:household:1).",
        "Why this",
        "  Of 3 candidates, 2 could be chosen.",
        "  No policy decided it: over the budget of 50 ms.",
        "  So the placement's fallback was taken.",
        "How it went out",
        "  By app.",
        "Not sent",
        "  The command to the actuator was held back: limit not-when-hot: It burns.",
        "What came of it",
        "  Nothing is known of that yet.",
        "Versions",
        "  Models: none; profile 0123456789ab.",
    ]


def test_who_is_taken_for_one_person_and_how_sure_that_is() -> None:
    kin = (Kin("a1", "b2", "likely", "", 0.93, NOW), Kin("a1", "c3", "login", "account", 1.0, NOW))
    assert in_words(msgspec.structs.replace(BARE, kin=kin))[4:7] == [
        "  For ana.",
        "  a1 and b2 belong to the same person, because of how they are used since 15 January 2027 (93% sure).",
        "  a1 and c3 belong to the same person, because of a login on 15 January 2027 (certain).",
    ]


def test_a_choice_that_stands_is_told_as_such() -> None:
    why = "decided 12 s ago, which holds for 60 s"
    found = msgspec.structs.replace(BARE, fallback="standing", fallback_reason=why)
    told = "\n".join(in_words(found))
    assert f"No policy decided it: {why}." in told
    assert "So what had been decided before was repeated, and no model was asked." in told


def test_why_nothing_was_decided() -> None:
    one = Withheld("quiet-hours", "", "visit:8812", "ana", NOW)
    assert nothing_in_words("shelf", one) == [
        "Nothing was decided at shelf for ana (2027-01-15 08:00:00 UTC).",
        "  It was quiet hours.",
        "  It was about event visit:8812.",
    ]


def _dark() -> House:
    return House(HOME.replace(AFTER, AFTER + STOP, 1)).everyone_agrees()


def test_a_stop_decides_nothing_and_the_reason_is_kept_once_a_tick() -> None:
    house = _dark()
    for number in range(WITHHELD_MAX + 5):
        house.tell(house.reading(number, light=0.0))
    assert house.decisions() == []
    assert ("withheld", "presence") not in house.rows
    house.tell(Tick())
    kept = unpack(house.rows["withheld", "presence"][0])
    assert len(kept) == WITHHELD_MAX
    assert (kept[-1].kind, kept[-1].event_id) == ("stop", f"room:r{WITHHELD_MAX + 4}")
    house.restart()
    house.tell(house.reading(99, light=0.0))
    house.tell(Tick())
    assert [one.event_id for one in unpack(house.rows["withheld", "presence"][0])][-2:] == [
        f"room:r{WITHHELD_MAX + 4}",
        "room:r99",
    ]


def test_without_consent_nothing_is_kept_of_whom_it_was_about() -> None:
    house = House()
    house.consent("u1", "improve-models")
    house.tell(house.pick(1), Tick())
    (kept,) = unpack(house.rows["withheld", "next-pick"][0])
    assert (kept.kind, kept.subject) == ("consent", "")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    house = _dark()
    house.tell(house.reading(1))
    house.now += 1_000
    house.tell(house.reading(2, light=0.0), Tick())
    store = Store(tmp_path / database.FILE, 16)
    writes = Writes()
    writes.add(house.effects)
    assert store.commit(writes, durable=False)
    store.close()
    return tmp_path


def test_the_command_tells_a_decision_an_event_and_the_last_of_a_placement(state: Path) -> None:
    def ask(*words: str) -> str:
        ran = CliRunner().invoke(main, ["explain", "--state-dir", str(state), *words])
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    last = json.loads(ask("--last", "presence", "--json"))
    (decided,), (nothing,) = last["decisions"], last["nothing_decided"]
    assert (decided["event_id"], nothing["event_id"], nothing["kind"]) == ("room:r1", "room:r2", "stop")
    assert json.loads(ask(decided["id"][:8], "--json")) == decided
    assert ask("--event", "r1").startswith(f"Decision {decided['id']}\nWhat was decided\n")
    told = ask("--event", "room:r2")
    assert told.startswith("Nothing was decided at presence for the household")
    assert (
        "A rule forbids deciding anything. Rule not-in-the-dark: Nobody wants the light switched in the dark." in told
    )


@pytest.mark.parametrize("words", [["--last", "nowhere"], ["--event", "r77"]])
def test_what_is_not_known_is_said_with_what_is(state: Path, words: list[str]) -> None:
    ran = CliRunner().invoke(main, ["explain", "--state-dir", str(state), *words])
    assert ran.exit_code != 0
    assert "nothing is known of" in str(ran.output) + str(ran.exception)
