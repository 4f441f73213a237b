"""Who a round would ask now, and why others not: from real rows of a coordinator's database."""

import itertools
import json
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from coordinator import cohort
from coordinator.cli import main
from coordinator.eligibility import Demands, Moment, Round, fewer, foresee, is_open
from coordinator.fleet.view import DeviceView
from coordinator.shell.admitting import Admission, meant
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.listening import word
from coordinator.shell.quarantine_store import QuarantineStore
from coordinator.shell.store import Store
from edge_agent import maintenance
from firmware_configs.messages import BundleState, Desired, Reported, Status
from firmware_configs.windows import read_window
from models.bundle import open_bundle
from tests.models.sample import zoo_path

MINUTE_MS = 60_000


def say(
    home: Path,
    device: str,
    *,
    version: str = "1.0.0",
    examples: int = 5,
    learning: str = "",
    ago_s: int = 0,
    device_class: str = "",
) -> None:
    """What a device tells by MQTT, as the listener takes it in."""
    now = int(time.time() * 1_000) - ago_s * 1_000
    status = Status(
        device=device,
        online=True,
        agent="0.1.0",
        device_class=device_class,
        counters={"examples.affinity": examples},
        time_ms=now,
    )
    runs = {"affinity": BundleState(version=version, state="active")} if version else {}
    reported = Reported(device=device, revision=0, bundles=runs, learning=learning, time_ms=now)
    for kind, told in (("status", status), ("reported", reported)):
        heard = word(device, kind, msgspec.msgpack.encode(told), now, live=True, as_json=False)
        assert heard is not None
        FleetStore(home).hear([heard])


def enrolled(home: Path, *names: str) -> None:
    FleetStore(home)
    for n, name in enumerate(names, 1):
        Store(home).enrol(name, n, "key")


def ask(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["cohort", "affinity", "--version", "1.0.0", "--home", str(home), *words])


def test_each_device_that_is_not_asked_says_why(tmp_path: Path) -> None:
    names = ["fit", "gone", "hurt", "new", "old", "poor", "quiet", "shut", "waits", "without", "elsewhere"]
    enrolled(tmp_path, *names)
    for name in names:
        if name != "new":
            say(
                tmp_path,
                name,
                version={"old": "0.9.0", "without": ""}.get(name, "1.0.0"),
                examples=0 if name == "poor" else 5,
                learning="waiting: battery at 20%, 50% are asked for" if name == "waits" else "",
                ago_s=3_600 if name == "quiet" else 0,
            )
    here = time.localtime()
    other = f"{(here.tm_hour + 6) % 24:02}:00-{(here.tm_hour + 7) % 24:02}:00"
    Store(tmp_path).put_desired("shut", Desired(revision=1, maintenance=(f"daily {other}",)))
    Store(tmp_path).revoke("gone")
    QuarantineStore(tmp_path).quarantine("hurt", "its sensor was moved", 7)
    FleetStore(tmp_path).join("beta", [name for name in names if name != "elsewhere"])
    done = ask(tmp_path, "--where", "group:beta", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    why = {one["device"]: [reason["code"] for reason in one["reasons"]] for one in told["devices"]}
    assert why == {
        "elsewhere": ["class"],
        "fit": [],
        "gone": ["revoked"],
        "hurt": ["quarantine"],
        "new": ["never-seen"],
        "old": ["version"],
        "poor": ["examples"],
        "quiet": ["silent"],
        "shut": ["window"],
        "waits": ["waiting"],
        "without": ["bundle"],
    }
    assert (told["eligible"], told["asked"]) == (1, 1.0)
    text = ask(tmp_path).output
    assert "its sensor was moved" in text
    assert "battery at 20%" in text
    assert "it runs affinity 0.9.0, not 1.0.0" in text


def test_nobody_is_asked_and_nothing_is_written(tmp_path: Path) -> None:
    enrolled(tmp_path, "home-1")
    say(tmp_path, "home-1")
    ask(tmp_path)
    assert Store(tmp_path).runs() == []
    assert Store(tmp_path).desired("home-1").revision == 0


def test_too_few_for_the_minimum_is_exit_code_1(tmp_path: Path) -> None:
    enrolled(tmp_path, "home-1")
    say(tmp_path, "home-1")
    assert ask(tmp_path).exit_code == 0
    done = ask(tmp_path, "--minimum-reports", "2")
    assert done.exit_code == 1
    assert "fewer than 2" in done.output


def test_the_round_file_says_what_is_asked_for_and_options_override_it(tmp_path: Path) -> None:
    enrolled(tmp_path, *(f"home-{n}" for n in range(8)))
    for n in range(8):
        say(tmp_path, f"home-{n}")
    path = tmp_path / "round.toml"
    path.write_text("[round]\nwanted = 2\nover_selection = 0.5\n")
    assert json.loads(ask(tmp_path, "--config", str(path), "--json").stdout)["asked"] == 3.0
    assert json.loads(ask(tmp_path, "--config", str(path), "--wanted", "4", "--json").stdout)["asked"] == 6.0
    path.write_text("[round]\nwantd = 2\n")
    assert "wanted" in ask(tmp_path, "--config", str(path)).output


def test_the_round_file_says_which_devices_it_is_for(tmp_path: Path) -> None:
    enrolled(tmp_path, "hub", "door", "poor", "silent")
    say(tmp_path, "hub", device_class="hub", examples=30)
    say(tmp_path, "door", device_class="doorbell", examples=30)
    say(tmp_path, "poor", device_class="hub", examples=3)
    path = tmp_path / "round.toml"
    path.write_text('[eligibility]\nclasses = ["hub"]\nexamples_min = 30\nwhere = ["!name:silent"]\n')
    told = json.loads(ask(tmp_path, "--config", str(path), "--json").stdout)
    why = {one["device"]: [reason["code"] for reason in one["reasons"]] for one in told["devices"]}
    assert why == {"door": ["class"], "hub": [], "poor": ["examples"], "silent": ["class"]}
    assert "doorbell, not hub" in ask(tmp_path, "--config", str(path)).output
    both = ask(tmp_path, "--config", str(path), "--class", "hub", "--class", "doorbell", "--examples-min", "1")
    assert "3 of 4 devices are eligible" in both.output


def test_a_round_asks_those_that_are_online_and_not_known_to_be_unfit(tmp_path: Path) -> None:
    enrolled(tmp_path, "fit", "old", "poor", "door", "hurt", "unheard", "elsewhere")
    for name in ("fit", "poor", "door", "hurt", "elsewhere"):
        say(tmp_path, name, device_class="doorbell" if name == "door" else "hub", examples=3 if name == "poor" else 30)
    say(tmp_path, "old", version="0.9.0", device_class="hub", examples=30)
    # What a device waits for, and its being silent, matter no more once its learner is online.
    say(tmp_path, "fit", device_class="hub", examples=30, learning="waiting: others begin first", ago_s=7_200)
    QuarantineStore(tmp_path).quarantine("hurt", "its sensor was moved", 7)
    FleetStore(tmp_path).tag(["fit", "old", "poor", "door", "hurt", "unheard"], {"site": "lab"})
    demands = Demands(where=("tag:site=lab",), classes=("hub",), examples_min=30)
    spec = msgspec.structs.replace(open_bundle(zoo_path("affinity")).spec, version="1.0.0")
    may = Admission(tmp_path, demands, spec)
    assert may([7, 6, 5, 4, 3, 2, 1, 99]) == [6, 1, 99]
    assert may.out == {"class": 2, "version": 1, "examples": 1}
    assert "the run is not for 2 by class" in may.told()
    assert meant(tmp_path, demands, "affinity", "1.0.0") == ["fit", "hurt", "old", "poor", "unheard"]


def test_a_bundle_that_is_not_published_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["cohort", "affinity", "--home", str(tmp_path)])
    assert (done.exit_code, "CRD304" in done.output) == (1, True)


NOW = Moment(now_ms=1_800_000_000_000, weekday=0, minute=600)


def fleet(count: int) -> list[DeviceView]:
    return [
        DeviceView(name=f"d{n}", node=2**64 - 1 - n, enrolled_ms=0, online=True, said_by="device", seen_ms=NOW.now_ms)
        for n in range(count)
    ]


def test_the_draw_is_that_of_a_runs_first_round() -> None:
    devices = fleet(40)
    found = foresee(devices, Round(wanted=10, seed=7), NOW, quarantined={})
    nodes = [device.node for device in devices]
    expected = cohort.select(nodes, 10, 0.3, np.random.default_rng([7, 1, 1]))
    assert sorted(int(one.node) for one in found.devices if one.drawn) == expected
    assert {one.chance for one in found.devices} == {13 / 40}


def test_a_private_round_tells_chances_and_draws_nobody() -> None:
    found = foresee(fleet(40), Round(rate=0.25, wanted=3, minimum_reports=5), NOW, quarantined={"d0": "hurt"})
    assert found.asked == pytest.approx(39 * 0.25)
    assert {one.drawn for one in found.devices if not one.reasons} == {None}
    assert found.short == pytest.approx(binom.cdf(4, 39, 0.25))


def test_what_a_device_has_not_told_counts_for_it_and_is_named() -> None:
    (one,) = foresee(fleet(1), Round(bundle="affinity", version="1.0.0"), NOW, quarantined={}).devices
    assert (one.drawn, one.not_told) == (True, ("what it runs", "its examples"))


@given(st.integers(0, 3_000), st.floats(0.001, 0.999), st.integers(1, 200))
def test_the_lower_tail_is_the_binomial_one(devices: int, rate: float, minimum: int) -> None:
    assert fewer(devices, rate, minimum) == pytest.approx(binom.cdf(minimum - 1, devices, rate), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("text", ["daily 02:00-05:00", "sat+sun 22:00-06:00", "mon-fri 00:00-00:00", "sun 23:59-00:01"])
def test_a_window_holds_as_it_does_on_the_device(text: str) -> None:
    window = read_window(text)
    assert window is not None
    monday = 4  # 1970-01-05, in UTC
    for weekday, minute in itertools.product(range(7), range(0, 1_440, 7)):
        at_ms = ((monday + 7 + weekday) * 1_440 + minute) * MINUTE_MS
        there = maintenance.is_open([window], at_ms, lambda day, start: (day * 1_440 + start) * MINUTE_MS)
        assert is_open(window, weekday, minute) == there, (weekday, minute)


VIEW = st.builds(
    DeviceView,
    name=st.text("abc", min_size=1, max_size=4),
    node=st.integers(0, 2**64 - 1),
    enrolled_ms=st.just(0),
    revoked=st.booleans(),
    online=st.none() | st.booleans(),
    said_by=st.sampled_from(["", "device", "broker"]),
    seen_ms=st.sampled_from([0, NOW.now_ms, NOW.now_ms + MINUTE_MS, NOW.now_ms - 90 * MINUTE_MS]),
)


@given(
    st.lists(VIEW, max_size=12, unique_by=(lambda view: view.name, lambda view: view.node)),
    st.builds(Round, wanted=st.integers(0, 20), rate=st.sampled_from([1.0, 0.5]), minimum_reports=st.integers(1, 5)),
)
def test_every_device_is_asked_or_not_for_a_reason(devices: list[DeviceView], asked: Round) -> None:
    found = foresee(devices, asked, NOW, quarantined={"a": "hurt"})
    assert [one.device for one in found.devices] == [device.name for device in devices]
    for device, one in zip(devices, found.devices, strict=True):
        assert (one.chance > 0.0) == (not one.reasons)
        assert not (device.revoked or device.name == "a") or one.reasons
    assert found.eligible == sum(not one.reasons for one in found.devices)
    assert sum(one.chance for one in found.devices) == pytest.approx(found.asked)
