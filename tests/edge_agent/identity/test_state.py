"""Whatever happens: a restart changes nothing, a replay comes to the same, and nothing is kept that should be gone."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.agent import Agent, step
from edge_agent.doors import Doors
from edge_agent.effects import Append
from edge_agent.happenings import Happening
from edge_agent.limits import DAY_MS
from edge_agent.memory.identity import sightings
from edge_agent.memory.identity.steady import Steady
from tests.benchmarks.households import household
from tests.edge_agent.house import DEVICE, NOW
from tests.edge_agent.identity.kin_house import EVERYBODY, PURPOSES, KinHouse, text

Event = tuple[str, str, dict[str, str], int]
"""(what happens, to whom, fields, seconds since what happened before)."""
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "item": st.sampled_from("abc"),
        "network": st.sampled_from(["home", "office"]),
        "room": st.sampled_from(["kitchen", "attic"]),
        "account": st.sampled_from(["ann", "bob"]),
        "peer": st.sampled_from(EVERYBODY),
    },
)
WHAT = ["touch", "touch", "touch", "touch", "touch", "withdraw", "agree", "link", "split", "restart"]
PAUSES = [0, 1, 30, 60, 301, 301, 900, 7_200, 86_400, 30 * 86_400, 100 * 86_400, 400 * 86_400, -3_600, -86_400 * 365]
STORY = st.lists(
    st.tuples(st.sampled_from(WHAT), st.sampled_from(EVERYBODY), FIELDS, st.sampled_from(PAUSES)), max_size=40
)


def _live(house: KinHouse, story: list[Event], *, restarts: bool) -> list[list[tuple[str, ...]]]:
    """Live through it; returns the persons after each happening."""
    found = []
    for what, who, fields, pause in story:
        house.now = max(NOW, house.now + pause * 1_000)
        match what:
            case "touch":
                house.touch(who, **{"item": "a", **fields})
            case "withdraw" | "agree":
                house.now += 1
                house.consent(who, *PURPOSES, granted=what == "agree")
            case "link":
                house.people_said(who, fields.get("peer", "phone"), same=True)
            case "split":
                house.people_said(who, same=False)
            case _ if restarts:
                house.restart()
            case _:
                pass
        found.append(house.persons())
    return found


@settings(max_examples=50, deadline=None)
@given(STORY)
def test_a_restart_at_any_moment_changes_nothing(story: list[Event]) -> None:
    steady, stopped = KinHouse().everybody(), KinHouse().everybody()
    assert _live(stopped, story, restarts=True) == _live(steady, story, restarts=False)
    assert stopped.rows == steady.rows
    assert [s.payload for s in stopped.sent if "/decision/" in s.topic] == [
        s.payload for s in steady.sent if "/decision/" in s.topic
    ]


def test_a_restart_now_and_then_in_a_household_changes_nothing() -> None:
    made = household(7, days=7)
    easily = text().replace('view = "subject"', 'view = "subject"\nlink_at = 0.6\nmaybe_at = 0.3')
    steady, stopped = (KinHouse(easily).everybody(*made.owner) for _ in range(2))
    persons = []
    for n, event in enumerate(made.events):
        for house in (steady, stopped):
            house.now = max(house.now, NOW + event.t_ms - made.events[0].t_ms)
            house.touch(event.subject, **event.fields)
        if n % 97 == 0:
            stopped.restart()
            assert stopped.persons() == steady.persons()
            persons.append(steady.persons())
    assert stopped.rows == steady.rows
    assert any(one.kind == "likely" for person in steady.graph.persons(steady.now) for one in person.links)
    assert len(set(map(str, persons))) > 2


@settings(max_examples=50, deadline=None)
@given(STORY)
def test_a_replay_of_the_journal_makes_the_same_decisions_for_the_same_persons(story: list[Event]) -> None:
    house = KinHouse(text("person"), record=True).everybody()
    _live(house, story, restarts=True)
    made = {e.id: e.value for e in house.effects if isinstance(e, Append) and e.shelf == "decision"}
    journal = [e for e in house.effects if isinstance(e, Append) and e.shelf == "journal"]
    doors = Doors(
        secret=b"s" * 32, recall=lambda *_: None, models={}, over_budget=lambda *_: False, local_hour=lambda _: (12, 1)
    )
    again = Agent(house.loaded, DEVICE, doors)
    replayed = {}
    for row in journal:
        for effect in step(again, [msgspec.msgpack.decode(row.value, type=Happening)], row.made_ms):
            if isinstance(effect, Append) and effect.shelf == "decision":
                replayed[effect.id] = effect.value
    assert replayed == made
    persons = again.people.persons(house.now)  # type: ignore[attr-defined]
    assert sorted(tuple(sorted(one.subjects)) for one in persons) == house.persons()


@settings(max_examples=50, deadline=None)
@given(STORY)
def test_no_person_has_two_accounts_of_one_login_or_subjects_without_consent(story: list[Event]) -> None:
    house = KinHouse().everybody()
    agreed = set(EVERYBODY)
    for event in story:
        _live(house, [event], restarts=True)
        if event[0] == "withdraw":
            agreed.discard(event[1])
        elif event[0] == "agree":
            agreed.add(event[1])
        logins = house.graph.links.accounts(house.graph._steady.read(house.now))
        for person in house.persons():
            assert set(person) <= agreed
            assert logins.shared.isdisjoint(person)
            accounts = {logins.sole[one]["account"] for one in person if one in logins.sole}
            assert len(accounts) <= 1
        names = {one: house.agent.people.person(one, house.now) for one in EVERYBODY}
        assert all(names[name] == name for name in names.values())
        known = " ".join(f"{key} {value}" for key, value in house.kept().items())
        assert [one for one in EVERYBODY if one not in agreed and one in known] == []


def test_subjects_and_pairs_are_bounded_and_the_rows_of_those_that_go_go_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings, "SUBJECTS_MAX", 10)
    monkeypatch.setattr(sightings, "PAIRS_MAX", 12)
    house = KinHouse()
    for n in range(40):
        house.consent(f"s{n}", *PURPOSES)
        house.now += 30_000
        house.touch(f"s{n}", item="a", network="home", account=f"a{n // 2}")
    seen, pairs = house.graph.sightings.seen, house.graph.sightings.pairs
    assert len(seen) == 10
    assert 0 < len(pairs) <= 12
    rows = house.kept(but=("head", "linkage"))
    assert sorted(rows) == sorted([f"seen\x00{s}" for s in seen] + [f"pair\x00{a}\x00{b}" for a, b in pairs])
    assert all(a in seen and b in seen for a, b in pairs)


def test_a_subject_that_was_silent_past_retention_is_forgotten() -> None:
    house = KinHouse().everybody()
    for subject in ("phone", "tablet"):
        house.touch(subject, account="ann", network="home")
    for _ in range(95):
        house.now += DAY_MS
        house.touch("phone", account="ann")
    assert house.kept(but=("head", "linkage")).keys() == {"seen\x00phone"}
    assert all(
        expires == 0 or expires > house.now for (room, _), (_, expires) in house.rows.items() if room == "identity"
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-40 * DAY_MS, 40 * DAY_MS) | st.just(5_000 * DAY_MS) | st.integers(0, DAY_MS), max_size=30))
def test_steady_time_is_never_ahead_of_the_clock_nor_moved_by_more_than_a_day_at_once_by_a_leap(
    steps: list[int],
) -> None:
    steady, wall, before = Steady(), NOW, NOW
    steady.advance(wall)
    for pause in steps:
        wall = max(NOW, wall + pause)
        leapt = steady.leapt_ms
        told = steady.read(wall)
        now = steady.advance(wall)
        assert told == now <= wall
        assert now - before <= DAY_MS or (leapt and now == wall and wall - leapt >= DAY_MS) or pause <= DAY_MS
        before = now


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["head", "linkage", "seen\x00phone", "pair\x00laptop\x00phone", "word\x00a\x00b", "x"]), st.binary()
)
def test_a_row_of_any_bytes_is_read_or_learned_anew(key: str, value: bytes) -> None:
    house = KinHouse().everybody()
    for subject in ("phone", "laptop"):
        house.touch(subject, account="ann", network="home")
    house.rows["identity", key] = (value, 0)
    house.restart()
    house.now += 2 * DAY_MS
    house.touch("phone", account="ann", network="home")
    house.touch("laptop", account="ann", network="home")
    assert all(set(one) <= {"laptop", "phone"} for one in house.persons())


def test_a_profile_without_identity_loads_none_of_it(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from tests.edge_agent.house import House; house = House().everyone_agrees();"
        "house.tell(house.pick(1)); assert house.decisions();"
        "print([m for m in sys.modules if 'identity' in m and m.startswith('edge_agent') or m.endswith('merging')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
