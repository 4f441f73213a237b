"""Which `desired` a device takes, and what it says of one that it does not."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.wishes import refusal
from firmware_configs.messages import Desired, Reported, Topics
from tests.edge_agent.house import DEVICE, House

OURS, THEIRS = "a" * 16, "b" * 16


def say(house: House, desired: Desired) -> None:
    house.tell(house.message(Topics(DEVICE).of("desired"), msgspec.msgpack.encode(desired)))


def reports(house: House) -> list[Reported]:
    topic = Topics(DEVICE).of("reported")
    return [msgspec.msgpack.decode(one.payload, type=Reported) for one in house.sent if one.topic == topic]


@pytest.fixture
def house() -> House:
    home = House()
    say(home, Desired(revision=5, device=DEVICE, by=OURS))
    assert reports(home)[-1].revision == 5
    return home


@pytest.mark.parametrize(
    ("desired", "why"),
    [
        (Desired(revision=4, device=DEVICE, by=OURS), "stale"),
        (Desired(revision=5, device=DEVICE, by=OURS, bundles={"context": "2.0.0"}), "conflict"),
        (Desired(revision=6, device="home-2", by=OURS), "foreign"),
        (Desired(revision=6, device=DEVICE, by=THEIRS), "foreign"),
        (Desired(revision=6, device=DEVICE), "foreign"),
        (Desired(revision=6, device=DEVICE, by=OURS, maintenance=("at night",)), "invalid"),
    ],
)
def test_what_is_stale_or_foreign_or_contradicts_is_ignored_with_a_reason(
    house: House, desired: Desired, why: str
) -> None:
    before = len(house.effects)
    say(house, desired)
    newest = reports(house)[-1]
    assert newest.ignored.startswith(f"{why}: ")
    assert newest.revision == 5
    assert "fetching" not in {state.state for state in newest.bundles.values()}
    assert house.agent.counters[f"desired.{why}"] == 1
    assert len(house.effects) > before


def test_the_same_reason_is_told_once_and_a_good_one_clears_it(house: House) -> None:
    for _ in range(3):
        say(house, Desired(revision=4, device=DEVICE, by=OURS))
    assert sum(bool(one.ignored) for one in reports(house)) == 1
    say(house, Desired(revision=6, device=DEVICE, by=OURS))
    assert (reports(house)[-1].revision, reports(house)[-1].ignored) == (6, "")


def test_the_retained_one_that_comes_again_changes_and_tells_nothing(house: House) -> None:
    told = len(reports(house))
    say(house, Desired(revision=5, device=DEVICE, by=OURS))
    assert len(reports(house)) == told


def test_what_was_taken_holds_over_a_restart(house: House) -> None:
    house.restart()
    say(house, Desired(revision=4, device=DEVICE, by=OURS))
    assert reports(house)[-1].ignored.startswith("stale")


def test_a_device_that_was_enrolled_believes_its_coordinator_only() -> None:
    assert refusal(Desired(revision=1, by=THEIRS), Desired(revision=0), DEVICE, OURS).startswith("foreign")
    assert refusal(Desired(revision=1, by=OURS), Desired(revision=0, by=THEIRS), DEVICE, OURS) == ""


states = st.builds(
    Desired,
    revision=st.integers(0, 4),
    bundles=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"]), max_size=1),
    by=st.sampled_from(["", OURS, THEIRS]),
    device=st.sampled_from(["", DEVICE, "home-2"]),
)


@given(st.lists(states, max_size=30))
def test_in_whatever_order_they_come_the_revision_only_rises_and_one_writer_is_believed(offered: list[Desired]) -> None:
    held = Desired(revision=0)
    taken = [held]
    for one in offered:
        if not refusal(one, held, DEVICE, ""):
            held = one
            taken.append(one)
    revisions = [one.revision for one in taken]
    assert all(later > earlier for earlier, later in pairwise(revisions))
    assert all(one.device in {"", DEVICE} for one in taken)
    writers = [one.by for one in taken if one.by]
    assert len(set(writers)) <= 1
