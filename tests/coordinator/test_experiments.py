"""Sums of many devices, over a real broker: added up, blurred, accounted for, read; and shares sent back."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt import publish, subscribe
from paho.mqtt.enums import MQTTProtocolVersion

from coordinator.cli import main
from coordinator.errors import TooFewDevices
from coordinator.experiments import Plan, blurred, gather
from coordinator.shell import broker
from coordinator.shell.home import Endpoints
from coordinator.shell.store import Store
from firmware_configs.loader import parse
from firmware_configs.messages import Desired, ExperimentReport, Topics
from models.experiments import sums
from tests.edge_agent.experiment_house import TrialHouse, profile

ADAPTIVE = """
arms = [{ name = "plain" }, { name = "other", items = ["milk"], channel = "voice" }]
adaptive = { people_min = 50 }
"""
PRIVATE = "privacy = { clip_norm = 60.0, noise_multiplier = 0.8, epsilon_max = 8.0 }"
RATES = {"plain": 0.2, "other": 0.6}


def _plan(text: str) -> Plan:
    loaded = parse(text).profile
    experiment = loaded.placement[0].experiment
    assert experiment is not None
    return Plan(experiment=experiment, egress=next(e for e in loaded.egress if e.kind == "experiment"))


def _report(text: str, device: str, seed: int, people: int = 100) -> ExperimentReport:
    """What a real agent reports after a day with so many people, who like milk better."""
    house, dice = TrialHouse(text), np.random.default_rng(seed)
    for n in range(people):
        person = f"u{seed}-{n}"
        likes = dice.random() < RATES[house.arm_of(person)]
        house.touch(person, outcome="click" if likes else "dismiss")
    house.wait(24)
    return msgspec.structs.replace(house.reports()[-1], device=device)


@pytest.fixture(scope="module")
def reports() -> dict[str, ExperimentReport]:
    return {f"home-{n}": _report(profile(ADAPTIVE), f"home-{n}", n) for n in range(4)}


def test_devices_add_up_and_what_is_not_theirs_to_say_does_not(reports: dict[str, ExperimentReport]) -> None:
    plan = _plan(profile(ADAPTIVE))
    replace = msgspec.structs.replace
    one = reports["home-0"]
    odd = {
        "stranger": one,
        "home-5": replace(one, device="home-1"),
        "home-6": replace(one, device="home-6", plan="0" * 16),
        "home-7": replace(one, device="home-7", tables={9: one.tables[0]}),
        "home-8": replace(one, device="home-8", tables={0: [[5.0, 99.0, 0.0, 0.0, 0.0, 0.0], [0.0] * 6]}),
        "home-9": replace(one, device="home-9", tables={0: [[1.0], [1.0, 2.0]]}),
    }
    found = gather(plan, {**reports, **odd}, [*reports, *odd][:4] + [f"home-{n}" for n in range(5, 10)])
    assert sorted(found.refused) == sorted(odd)
    assert found.devices == 4
    assert sum(row[0] for row in found.tables[0]) == 400.0


def test_fewer_devices_than_the_profile_says_are_not_read(reports: dict[str, ExperimentReport]) -> None:
    plan = _plan(profile(ADAPTIVE))
    with pytest.raises(TooFewDevices, match="2 devices"):
        gather(plan, {name: reports[name] for name in ("home-0", "home-1")}, list(reports))


def test_shares_that_few_devices_counted_under_are_withheld(reports: dict[str, ExperimentReport]) -> None:
    plan = msgspec.structs.replace(_plan(profile(ADAPTIVE)), shares={1: {"plain": 0.3, "other": 0.7}})
    one = reports["home-0"]
    found = gather(
        plan,
        {**reports, "home-0": msgspec.structs.replace(one, tables={**one.tables, 1: one.tables[0]})},
        list(reports),
    )
    assert found.withheld == (1,)
    assert 1 not in found.tables


def test_noise_is_as_large_as_stated_and_a_device_is_clipped_again(reports: dict[str, ExperimentReport]) -> None:
    text = profile(ADAPTIVE, privacy=PRIVATE)
    plan = _plan(text)
    mine = {name: msgspec.structs.replace(report, plan=plan.hash) for name, report in reports.items()}
    liar = msgspec.structs.replace(mine["home-0"], tables={0: (100 * np.array(mine["home-0"].tables[0])).tolist()})
    found = gather(plan, {**mine, "home-0": liar}, list(reports))
    honest = gather(plan, mine, list(reports))
    assert sums.norm({0: np.array(found.tables[0]) - np.array(honest.tables[0])}) <= 60.0
    dice = np.random.default_rng(0)
    noise = [np.array(blurred(plan, found, dice.standard_normal)[0]) - np.array(found.tables[0]) for _ in range(500)]
    assert np.std(noise) == pytest.approx(0.8 * 60.0, rel=0.05)
    assert plan.unit == "device"


def test_where_the_person_is_the_unit_the_noise_is_smaller_and_nothing_is_clipped() -> None:
    text = profile(ADAPTIVE, privacy=PRIVATE.replace("}", ', unit = "person" }'))
    plan = _plan(text)
    assert plan.noise == pytest.approx(0.8 * sums.person_norm(1, before=False))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    port = broker.free_port()
    running = broker.start(tmp_path, "127.0.0.1", port)
    url = f"mqtt://127.0.0.1:{port}"
    where = Endpoints(broker=url, registry="", superlink="", ca="", root="", control="")
    (tmp_path / "endpoints.json").write_bytes(msgspec.json.encode(where))
    store = Store(tmp_path)
    for n in range(4):
        store.enrol(f"home-{n}", n, "")
    try:
        yield tmp_path
    finally:
        running.stop()


def _call(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["experiments", *words, "--home", str(home)])


def _json(done: Result) -> dict[str, object]:
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _publish(home: Path, reports: dict[str, ExperimentReport]) -> int:
    where = msgspec.json.decode((home / "endpoints.json").read_bytes(), type=Endpoints).broker
    port = int(where.rsplit(":", 1)[1])
    for name, report in reports.items():
        publish.single(
            Topics(name).of("experiment", "order"),
            msgspec.msgpack.encode(report),
            qos=1,
            retain=True,
            port=port,
            protocol=MQTTProtocolVersion.MQTTv5,
        )
    return port


def test_from_devices_to_a_verdict_to_other_shares(
    home: Path, tmp_path: Path, reports: dict[str, ExperimentReport]
) -> None:
    text = tmp_path / "profile.toml"
    text.write_text(profile(ADAPTIVE))
    assert "2 arms" in _call(home, "add", str(text)).output
    port = _publish(home, reports)
    shown = _json(_call(home, "show", "order", "--json"))
    assert shown["people"] == 400.0
    assert shown["mismatched"] is False
    assert str(shown["verdict"]).startswith("other vs plain is better in reward, by +0.")
    told = _call(home, "show", "order").output
    assert "intervals hold at every time of looking" in told
    assert "no differential privacy" in told
    assert _json(_call(home, "allocate", "order", "--dry-run", "--json"))["number"] == 0
    moved = _json(_call(home, "allocate", "order", "--json"))
    assert moved["shares"] == [0.3, 0.7]
    raw = subscribe.simple(Topics("home-1").of("desired"), port=port, protocol=MQTTProtocolVersion.MQTTv5)
    desired = msgspec.msgpack.decode(raw.payload, type=Desired)
    assert desired.experiments["order"].shares == {"plain": 0.3, "other": 0.7}
    house = TrialHouse(profile(ADAPTIVE))
    house.tell(house.message(Topics("home-1").of("desired"), msgspec.to_builtins(desired)))
    place = house.agent.placements["pick"].assignment
    assert place is not None
    assert (place.allocation, place.shares) == (1, (0.3, 0.7))
    listed = json.loads(_call(home, "ls", "--json").stdout)
    assert [(row["experiment"], row["reports"]) for row in listed] == [("order", 4)]


def test_releases_spend_the_budget_and_reading_again_does_not(
    home: Path, tmp_path: Path, reports: dict[str, ExperimentReport]
) -> None:
    text = tmp_path / "profile.toml"
    text.write_text(profile(ADAPTIVE, privacy=PRIVATE))
    _call(home, "add", str(text))
    plan = _plan(text.read_text())
    _publish(home, {name: msgspec.structs.replace(report, plan=plan.hash) for name, report in reports.items()})
    nothing = _call(home, "show", "order")
    assert nothing.exit_code == 1
    assert "CRD403" in nothing.stderr
    first = _json(_call(home, "release", "order", "--json"))
    assert first["devices"] == "at least 3"
    assert first["epsilon"] == pytest.approx(5.68, abs=0.02), (
        "as the formula of Balle and Wang 2018 gives for σ = 0.8, δ = 1e-5"
    )
    again = _json(_call(home, "show", "order", "--json"))
    assert again == {**first, "refused": {}}
    refused = _call(home, "release", "order")
    for _ in range(5):
        if refused.exit_code:
            break
        refused = _call(home, "release", "order")
    assert refused.exit_code == 1
    assert "CRD204" in refused.stderr
    assert "the budget is ε = 8" in refused.stderr


def test_what_is_not_there_is_named(home: Path, tmp_path: Path) -> None:
    unknown = _call(home, "show", "nothing")
    assert unknown.exit_code == 2
    assert "CRD401" in unknown.stderr
    text = tmp_path / "profile.toml"
    text.write_text(profile().replace('kind = "experiment"', 'kind = "metric"'))
    undeclared = _call(home, "add", str(text))
    assert undeclared.exit_code == 2
    assert "CRD404" in undeclared.stderr
    text.write_text(profile())
    assert _call(home, "add", str(text)).exit_code == 0
    few = _call(home, "show", "order")
    assert few.exit_code == 1
    assert "CRD402" in few.stderr


NUMBER = st.one_of(st.floats(), st.floats(-9.0, 9.0), st.integers(-9, 9).map(float))
TABLES = st.dictionaries(st.integers(-1, 2), st.lists(st.lists(NUMBER, max_size=7), max_size=3), max_size=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(TABLES, max_size=5))
def test_whatever_devices_send_is_added_up_refused_or_too_little(sent: list[dict[int, list[list[float]]]]) -> None:
    plan = _plan(profile(ADAPTIVE))
    reports = {
        f"home-{n}": ExperimentReport(device=f"home-{n}", experiment="order", plan=plan.hash, tables=tables, time_ms=0)
        for n, tables in enumerate(sent)
    }
    try:
        found = gather(plan, reports, list(reports))
    except TooFewDevices:
        return
    assert found.devices + len(found.refused) <= len(sent)
    for table in found.tables.values():
        assert np.isfinite(np.array(table)).all()
