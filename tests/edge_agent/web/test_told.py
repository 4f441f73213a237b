"""The words of the device's page: every kind of fact, reason and look, and what no input may break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.decide.decision import Fired, Kin, Scored, Trail
from edge_agent.learn.earned import Earned
from edge_agent.memory.consent import Consents
from edge_agent.web import told
from edge_agent.web.pages import when
from edge_agent.withheld import Withheld
from firmware_configs.looks import GENESIS, Look
from firmware_configs.rules.words import lix
from tests.edge_agent.house import NOW, profile

TRAIL = Trail(
    id="d1",
    placement="next-pick",
    event_id="interaction:1",
    subject="anna",
    trigger="interaction",
    fields={"item": "17", "light": 420.0, "near": True},
    candidates=30,
    eligible=29,
    top=(Scored("soup", 0.9, True), Scored("rice", 0.4, True)),
    items=("soup",),
    score=0.9,
    propensity=0.95,
    policy="epsilon-greedy",
    channel="app",
    bundles={"affinity": "1.0.0"},
    profile="f" * 64,
    event_time_ms=NOW,
    decided_ms=NOW,
)


def changed(**more: object) -> Trail:
    from msgspec.structs import replace

    return replace(TRAIL, **more)


@pytest.mark.parametrize(
    ("key", "row", "text", "what", "value"),
    [
        ("last:co2", [640.0, NOW], "", "The newest co2", "640"),
        ("text:time_zone:ab12", [2.0, NOW], "", "The newest time zone", ""),
        ("ewma:light:3600", [90.0, 3.0, NOW], "", "The usual light", "30"),
        ("since:front-door", [NOW], "", "When you were last heard of: front door", ""),
        ("sequence:item:4", [NOW - 1.0, NOW, 0.0], "a\x1fb", "The last 2 of item, newest first", "b, a"),
        ("count:item::604800", [7.0, 1.0, 2.0], "", "How often item, in the last 7 days", "about 3"),
        ("count::room:7200", [7.0, 1.0], "", "How often room, in the last 2 hours", "about 1"),
        ("mean:light:180", [7.0, 1.0, 2.0], "", "The mean light, in the last 3 minutes", ""),
        ("session:max:light::30", [0.0] * 8, "", "The most light, in one visit", ""),
        ("tumbling:sum::room:90", [0.0] * 3, "", "The sum of room, in the last 90 seconds", ""),
        ("something-new", [1.0], "", "something new", ""),
    ],
)
def test_every_number_that_is_kept_has_words(key: str, row: list[float], text: str, what: str, value: str) -> None:
    (fact,) = told.facts({key: row}, {key: text})
    assert (fact.what, fact.value) == (what, value)


@given(
    key=st.one_of(st.text(), st.from_regex(r"(last|ewma|count|mean|text|since|sequence|session)(:[a-z0-9.]*){0,5}")),
    row=st.lists(st.floats(), max_size=6),
    text=st.text(max_size=20),
)
def test_whatever_was_stored_is_told(key: str, row: list[float], text: str) -> None:
    (fact,) = told.facts({key: row}, {key: text})
    assert isinstance(fact.what, str)
    assert when(fact.at_ms, "Europe/Paris")


def test_a_reason_says_what_came_in_what_was_allowed_and_what_came_first() -> None:
    rule = Fired("again", "deny", "It was picked a moment ago", 1)
    found = told.reason(changed(rules=(rule,)), [Earned("d1", "soup", "reward", 1.0, "click", NOW + 65_000)])
    assert (found.title, found.what) == ("Next pick", "soup")
    assert found.lines == (
        "Just before, interaction said: item is 17; light is 420; near is yes.",
        "There were 30 things to choose from, and 29 of them were allowed.",
        "A rule says: It was picked a moment ago.",
        "The model affinity put this one first.",
    )
    assert found.came == ("Click, 65 seconds later.",)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"items": ("rice",)}, "It was tried by chance, to learn what suits you."),
        ({"fallback": "popular"}, "most people here like"),
        ({"bundles": {}}, "This one came first."),
        ({"trigger": "request", "fields": {}}, "An app or a screen asked for it."),
        ({"fields": {}}, "Just before, this came in: interaction."),
        ({"eligible": 30}, "There were 30 things to choose from."),
        ({"experiment": "evening-order", "arm": "b"}, "You are in group b."),
        ({"kin": (Kin("anna", "tab", "login", "l", 1.0, NOW),)}, "It took you and tab for one person."),
    ],
)
def test_a_reason_names_what_was_special(more: dict[str, object], says: str) -> None:
    assert says in " ".join(told.reason(changed(**more)).lines)


def test_of_many_things_the_first_are_named() -> None:
    assert told.reason(changed(items=("a", "b", "c", "d", "e"))).what == "a, b, c and 2 more"


def test_nothing_shown_has_its_reason_too() -> None:
    one = told.nothing("next-pick", Withheld("cap", "3 an hour", "e", "anna", NOW))
    assert one.lines == ("You had been shown enough by then.", "3 an hour.")


def test_choices_tell_what_holds_now() -> None:
    declared = profile("home-gateway").profile
    consents = Consents(declared.purpose)
    consents.hear("anna", {"personalise": True, "comfort": True, "operate": False}, NOW, NOW, {"comfort": "older"})
    found = {one.name: (one.asked, one.on, one.again) for one in told.choices(declared, consents, "anna")}
    assert found == {
        "personalise": (True, True, False),
        "improve-models": (True, False, False),
        "comfort": (True, False, True),
        "operate": (True, False, False),
    }


def test_looks_of_ones_own_are_told_together_and_those_of_others_each() -> None:
    def look(who: str, role: str, what: str, *, allowed: bool = True) -> Look:
        return Look(
            number=1, time_ms=NOW, who=who, by="user", role=role, action="subject", what=what, reason="asked",
            allowed=allowed, previous=GENESIS,
        )  # fmt: skip

    mine = look("themselves", "subject", "page what it knows")
    found = told.looked(
        [mine, mine, look("carol", "officer", "subject show"), mine, look("eve", "", "x", allowed=False)]
    )
    assert [(one.who, one.times) for one in found] == [
        ("You, on this page", 2),
        ("carol, who watches over privacy", 1),
        ("You, on this page", 1),
        ("eve wanted to, and was not let in", 1),
    ]


def test_the_shipped_profile_reads_easily_in_the_pages_words() -> None:
    uses = told.purposes_in_words(profile("home-gateway").profile)
    assert max(lix(" ".join([one.text, one.why, *one.takes, *one.leaves])) for one in uses) <= 45
