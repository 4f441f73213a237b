"""Conflicts between rules: found with both places named, and only where they hold at every event."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide.rules import Rules
from firmware_configs.lineage import derive
from firmware_configs.loader import load, parse
from firmware_configs.profile import Profile
from firmware_configs.rules.conflict import RULES
from firmware_configs.rules.rule import Case
from tests.edge_agent.house import HOME, PROFILES

LAST = 'reason = "There is daylight enough."\n'


def _profile(*rules: tuple[str, str], fallback: str = "lights-off") -> Profile:
    written = "".join(
        f'\n[[placement.rule]]\nname = "r{n}"\nwhen = """{when}"""\neffect = "{effect}"\nreason = "It is so."\n'
        for n, (when, effect) in enumerate(rules)
    )
    text = HOME.replace(LAST, LAST + written, 1)
    return parse(text.replace('fallback = "lights-off"', f'fallback = "{fallback}"', 1)).profile


def _found(profile: Profile) -> list[tuple[str, str, str]]:
    return [
        (f.code, f.where, f.what)
        for rule in RULES
        for f in rule.run(Case(profile=profile, lineage=derive(profile)), "home.toml")
    ]


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_profiles_have_none(path: Any) -> None:
    assert _found(load(path).profile) == []


@pytest.mark.parametrize(
    ("rules", "code", "said"),
    [
        ([("hour < 8", "deny"), ("hour < 6", "allow-only")], "DM301", "allows only what `r0` (placement[2].rule[1])"),
        ([("hour < 8", "stop"), ("hour < 8", "allow-only")], "DM301", "nothing is ever left"),
        ([("item == 'lights-on'", "deny"), ("item != 'lights-on'", "deny")], "DM301", "deny every candidate"),
        ([("item == 'lights-off'", "deny")], "DM301", "the fallback `lights-off` is always denied by `r0`"),
        ([("fields.co2 > 900.0 && fields.co2 < 800.0", "deny")], "DM302", "never true: no `fields.co2` fits"),
        ([("hour == 24", "deny")], "DM302", "never true: no `hour` fits"),
        ([("fields.co2 == 'much'", "deny")], "DM302", "never true"),
        ([("false", "boost")], "DM302", "never true"),
        ([("item == 'lights-on' && item == 'lights-off'", "boost")], "DM302", "never true"),
        ([("item == 'lights-up'", "deny")], "DM302", "names `lights-up`, which is no candidate"),
        (
            [("item == 'lights-on'", "deny"), ("item == 'lights-on' && hour > 3", "boost")],
            "DM302",
            "`r1` (placement[2].rule[2]) boosts only what `r0` (placement[2].rule[1]) denies",
        ),
        ([("item == 'lights-off'", "allow-only"), ("item == 'lights-on'", "boost")], "DM302", "never allows"),
        ([("hour < 8", "deny"), ("hour < 6 && fields.co2 > 3.0", "stop")], "DM303", ""),
        ([("hour in [1, 2]", "deny"), ("hour == 2", "deny")], "DM303", "whatever `r1` (placement[2].rule[2]) denies"),
    ],
)
def test_each_kind_is_found_and_names_its_places(rules: list[tuple[str, str]], code: str, said: str) -> None:
    found = _found(_profile(*rules))
    if not said:
        assert found == []
        return
    assert any(found_code == code and said in what for found_code, _, what in found), found


@pytest.mark.parametrize(
    "rules",
    [
        [("fields.co2 > 900.0", "deny"), ("fields.co2 > 900.0 || hour < 3", "allow-only")],
        [("hour < 8", "deny"), ("hour < 8 && item.startsWith('x')", "boost")][:1],
        [("item.startsWith('lights') && hour < 3", "deny"), ("hour < 3", "allow-only")],
        [("item == fields.light", "deny"), ("item == 'lights-off' && fields.occupied", "allow-only")],
        [("hour < 8", "deny"), ("hour < 9", "deny")][1:],
    ],
)
def test_what_may_hold_is_no_finding(rules: list[tuple[str, str]]) -> None:
    assert [found for found in _found(_profile(*rules)) if found[0] != "DM303"] == []


PARTS = st.one_of(
    st.sampled_from(["hour < 6", "hour >= 22", "hour in [1, 23]", "!(hour < 9)", "(hour < 6 || hour >= 22)", "true"]),
    st.sampled_from(["fields.co2 > 5.0", "fields.co2 <= 5.0", "fields.co2 == 5", "fields.light < fields.co2"]),
    st.sampled_from(["fields.occupied", "!fields.occupied", "item.endsWith('f')", "item == 'lights-on'"]),
    st.sampled_from(["item != 'lights-on'", "item in ['lights-on', 'lights-off']"]),
)
WRITTEN = st.lists(
    st.tuples(
        st.lists(PARTS, min_size=1, max_size=3).map(" && ".join),
        st.sampled_from(["deny", "allow-only", "boost", "stop"]),
    ),
    min_size=1,
    max_size=4,
)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "hour": st.sampled_from([0, 1, 5, 6, 8, 9, 21, 22, 23]),
            "fields": st.fixed_dictionaries(
                {},
                optional={
                    "co2": st.sampled_from([4.0, 5.0, 6.0]),
                    "light": st.sampled_from([1.0, 900.0]),
                    "occupied": st.booleans(),
                },
            ),
        }
    ),
    min_size=12,
    max_size=12,
)


@settings(max_examples=120, deadline=None)
@given(WRITTEN, EVENTS)
def test_what_is_found_holds_at_every_event(written: list[tuple[str, str]], events: list[dict[str, Any]]) -> None:
    profile = _profile(*written)
    place = profile.placement[2]
    compiled = Rules(place.rule)
    items = tuple(candidate.item for candidate in place.candidate)
    index = {item: n for n, item in enumerate(items)}
    found = _found(profile)
    for event in events:
        told = compiled.tell(items, index, event)
        verdict = compiled.apply(items, index, event)
        for _, where, what in found:
            _holds(what, where, told, verdict.eligible.tolist(), place, items)


def _holds(what: str, where: str, told: Any, eligible: list[bool], place: Any, items: tuple[str, ...]) -> None:
    number = int(where.split("rule[")[1].split("]", maxsplit=1)[0]) if "rule[" in where else -1
    touched = [one.true | one.failed for one in told]
    others = [int(part.split("]")[0]) for part in what.split("rule[")[1:] if int(part.split("]")[0]) != number]
    if "never true" in what:
        assert told[number].true == 0
    elif "nothing is ever left" in what or "every candidate" in what:
        assert not any(eligible)
    elif "the fallback" in what:
        assert not eligible[items.index(place.fallback)]
    elif "boosts only" in what:
        assert not told[number].true & sum(1 << n for n, one in enumerate(eligible) if one)
    elif "whatever" in what:
        assert touched[number] & ~touched[others[0]] == 0
    else:
        assert "no candidate" in what
