"""What devices, apps and pages may say and hear at the broker, as the access lists have it."""

from pathlib import Path

import pytest

from coordinator.fleet import access
from coordinator.shell import mosquitto
from coordinator.shell.enrol import let_in
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.store import Store
from edge_agent.announcing import topic_of
from firmware_configs.loader import load
from firmware_configs.messages import Desired

SHOP = Path(__file__).parents[2] / "demo" / "pages" / "profile.toml"


def test_a_page_writes_what_it_captures_and_hears_answers_alone() -> None:
    rules = access.of_app(["page"], [])
    assert [rule.topic for rule in rules if rule.access == "read"] == ["edgeward/1/+/reply/+"]
    written = {rule.topic.removeprefix("edgeward/1/+/") for rule in rules if rule.access == "write"}
    assert written == {"capture/+", "consent/+", "feedback", "request/+"}


def test_a_device_hears_the_pages_of_its_own_profile_and_of_no_other_device() -> None:
    rules = access.of_device("shop-1", access.topology(load(SHOP).profile))
    captured = [rule for rule in rules if "/capture/" in rule.topic]
    assert captured == [access.Rule("read", "edgeward/1/shop-1/capture/page")]


def test_a_sensor_says_nothing_in_the_name_of_pages() -> None:
    rules = access.of_app([access.SENSOR], [access.topology(load(SHOP).profile)])
    assert rules == []


def test_a_device_announces_itself_to_home_assistant_and_nobody_else() -> None:
    rules = access.of_device("gw.7", None)
    outside = [rule for rule in rules if not rule.topic.startswith("edgeward/1/gw.7/")]
    assert outside == [access.Rule("write", "homeassistant/device/edgeward-gw_7/config")]
    assert outside[0].topic == topic_of("homeassistant", "gw.7"), "the name that the device itself uses"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A coordinator's home whose mosquitto has been set up, with three devices."""
    mosquitto.folder(tmp_path).mkdir()
    (mosquitto.folder(tmp_path) / "mosquitto.conf").touch()
    for number in range(3):
        let_in(tmp_path, f"shop-{number}", number + 1, "key")
    return tmp_path


def listed(home: Path) -> str:
    return (mosquitto.folder(home) / mosquitto.LIST).read_text()


def test_a_list_to_which_newcomers_were_added_is_the_one_that_is_written_anew(home: Path) -> None:
    FleetStore(home).give_profile(access.topology(load(SHOP).profile), ["shop-3"])
    before, stamp = listed(home), mosquitto.stamp(home)
    let_in(home, "shop-3", 4, "key")
    assert listed(home).startswith(before), "nothing else was touched"
    assert mosquitto.stamp(home) != stamp
    added = listed(home)
    mosquitto.write_access(home)
    assert listed(home) == added
    assert "edgeward/1/shop-3/capture/page" in added


def test_a_list_whose_last_writer_was_killed_is_written_anew(home: Path) -> None:
    place = mosquitto.folder(home) / mosquitto.LIST
    place.write_text(listed(home)[:-9])
    let_in(home, "shop-3", 4, "key")
    added = listed(home)
    mosquitto.write_access(home)
    assert listed(home) == added


def test_a_device_that_was_revoked_may_come_back_under_its_name(home: Path) -> None:
    Store(home).revoke("shop-1")
    mosquitto.write_access(home)
    assert "shop-1" not in listed(home)
    let_in(home, "shop-1", 9, "another key")
    assert listed(home).count("\nuser shop-1\n") == listed(home).count("\nuser ~shop-1\n") == 1


def test_what_is_wanted_of_a_newcomer_is_what_is_wanted_at_the_highest_revision_of_those_who_are_in(home: Path) -> None:
    store = Store(home)
    assert store.newest_desired("shop-0").revision == 0
    for number, revision in enumerate((4, 9, 6)):
        store.put_desired(f"shop-{number}", Desired(revision=revision, bundles={"context": f"1.0.{revision}"}))
    assert store.newest_desired("").bundles == {"context": "1.0.9"}
    assert store.newest_desired("shop-1").bundles == {"context": "1.0.6"}
    store.revoke("shop-1")
    assert store.newest_desired("").bundles == {"context": "1.0.6"}


def test_mosquitto_is_left_alone_for_longer_the_longer_it_reads(home: Path) -> None:
    assert mosquitto.pause_s(home) < 0.001
    (mosquitto.folder(home) / mosquitto.LIST).write_bytes(bytes(mosquitto.READ_BYTES))
    assert mosquitto.pause_s(home) == pytest.approx(9 * mosquitto.READ_S)
