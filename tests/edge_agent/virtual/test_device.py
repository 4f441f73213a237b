"""A virtual device is the real agent: lived in one stretch or in many, by any process, it comes out the same."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.shell.virtual import Host
from edge_agent.virtual.day import Surroundings
from firmware_configs.ledger import first_break, unpack
from firmware_configs.loader import load
from firmware_configs.messages import Desired, Reported
from firmware_configs.virtual import (
    HOUR_MS,
    Behaviour,
    Drift,
    Events,
    Feedback,
    Flag,
    Live,
    Normal,
    People,
    Taste,
    World,
)
from tests.coordinator.fleet import BUNDLES, CONTEXT

AFFINITY = next(BUNDLES.glob("affinity-1*"))
PROFILE = Path(__file__).parents[3] / "firmware_configs" / "profiles" / "home-gateway.toml"
START_MS = 1_767_571_200_000
BEHAVIOUR = Behaviour(
    people=People(count=2, consent=0.8),
    event=(
        Events(source="interaction", per_day=15.0, fields={"item": Taste()}),
        Events(source="room", per_day=5.0, fields={"light": Normal(mean=300.0), "occupied": Flag()}),
    ),
    feedback=Feedback(placement="next-pick"),
)


def _world(**changes: object) -> World:
    world = World(
        behaviour=BEHAVIOUR,
        profile=str(PROFILE),
        bundles=(str(AFFINITY), str(CONTEXT)),
        folder="",
        seed=3,
        start_ms=START_MS,
        hours=48,
    )
    return msgspec.structs.replace(world, **changes)


@pytest.fixture(scope="module")
def host() -> Host:
    return Host(_world())


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 48 * 60 - 1), max_size=3, unique=True), st.integers(0, 50))
def test_a_device_comes_out_the_same_however_often_it_was_suspended(stops: list[int], number: int) -> None:
    host = Host(_world())
    totals = []
    for moments in ([], stops):
        host.kept.clear()
        sums: dict[str, np.ndarray] = {}
        for stop in [*sorted(moments), 48 * 60]:
            for said in host.live(Live(devices=(number,), until_ms=START_MS + stop * 60_000)):
                for name, more in said.counts.items():
                    sums[name] = sums.get(name, np.zeros(48, np.int64)) + np.array(more)
        # What is told of oneself holds running figures that a start begins anew: its bytes may differ.
        totals.append({n: v.tolist() for n, v in sums.items() if n not in {"bytes_status", "messages"}})
    assert totals[0] == totals[1]


def test_the_ledger_of_a_device_is_an_unbroken_chain(host: Host) -> None:
    device = host.device(1)
    device.live(START_MS + 24 * HOUR_MS)
    rows = [unpack(device.state[key][0]) for key in sorted(device.state) if key[0] == "ledger"]
    assert len(rows) > 10
    assert first_break(rows) is None


def test_people_who_do_not_agree_leave_nothing_but_what_needs_no_consent(host: Host) -> None:
    numbers = (n for n in range(100) if not any(one.agrees for one in host.fleet.around.people(n)))
    device = host.device(next(numbers))
    device.live(START_MS + 24 * HOUR_MS)
    assert device.agent.counters["dropped.consent"] > 0
    assert not any(room == "profile" and key.startswith("p") for room, key in device.state)
    assert not device.examples.get("affinity")


def test_a_device_tells_what_it_runs_and_takes_what_is_wanted(host: Host) -> None:
    device = host.device(2)
    device.desire(msgspec.msgpack.encode(Desired(revision=5, bundles={"affinity": "1.0.0"})), START_MS + 1)
    told = msgspec.msgpack.decode(device.reported, type=Reported)
    assert (told.revision, told.bundles["affinity"].version) == (5, "1.0.0")


def test_tastes_turn_at_the_drift_and_not_before() -> None:
    behaviour = msgspec.structs.replace(BEHAVIOUR, drift=Drift(share=1.0, after_hours=10.0))
    around = Surroundings(behaviour, load(PROFILE).profile, ("a", "b", "c", "d", "e"), 0, START_MS)
    for person in around.people(7):
        assert around.taste(person, START_MS + 10 * HOUR_MS - 1) == person.taste
        assert around.taste(person, START_MS + 10 * HOUR_MS) == person.later != person.taste


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_events_come_in_order_and_within_what_was_asked_for(seed: int, device: int) -> None:
    around = Surroundings(BEHAVIOUR, load(PROFILE).profile, ("a", "b", "c", "d"), seed, START_MS)
    people = around.people(device)
    from_ms, until_ms = START_MS + 5 * HOUR_MS, START_MS + 30 * HOUR_MS
    found = around.events(device, people, from_ms, until_ms)
    assert found == sorted(found)
    assert all(from_ms <= one.at_ms < until_ms for one in found)
    middle = START_MS + 17 * HOUR_MS
    assert found == [*around.events(device, people, from_ms, middle), *around.events(device, people, middle, until_ms)]


def test_a_pick_is_mostly_of_the_persons_own_taste() -> None:
    items = tuple(f"i{n}" for n in range(40))
    around = Surroundings(BEHAVIOUR, load(PROFILE).profile, items, 0, START_MS)
    own = total = 0
    for device in range(60):
        people = {one.name: one for one in around.people(device)}
        for happens in around.events(device, list(people.values()), START_MS, START_MS + 24 * HOUR_MS):
            word = msgspec.json.decode(happens.payload)
            if "item" in word:
                total += 1
                own += around.group[word["item"]] == people[word["user"]].taste
    # `focus` from the own group, and a fourth of the rest by chance.
    assert own / total == pytest.approx(0.8 + 0.2 / 4, abs=0.04)
