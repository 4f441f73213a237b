"""Lineage: from the data window over rounds and parents to the devices that run a version."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.errors import UnknownBundle
from coordinator.lineage import on_devices
from coordinator.provenance import DataWindow, Made
from coordinator.rounds import Round
from coordinator.shell.ancestry import ancestry
from coordinator.shell.fleet_store import FleetStore, Heard
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.run_store import RunStore
from coordinator.shell.store import Store
from firmware_configs.messages import BundleState, Desired, Reported
from tests.coordinator.test_ceremony import version
from tests.coordinator.written import NOW_MS, job_of


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A bundle that was handed in, a run that made the next version of it, and three devices."""
    home = tmp_path / "home"
    registry, store, fleet = Registry.ensure(home), Store(home), FleetStore(home)
    first = registry.publish(version(tmp_path, "1.0.0"))
    request, job = Request(bundle="context", rounds=2), job_of(home, "run-1")
    RunStore(home).begin("run-1", "context", "1.0.0", request, job, NOW_MS)
    for number in (1, 2):
        store.put_round(
            Round(run="run-1", number=number, state="published", asked=3, reports=2, loss_before=0.7, loss_after=0.5)
        )
    made = Made(
        run="run-1",
        rounds=(1, 2),
        parents={"1.0.0": first.sha256},
        window=DataWindow(kind="on devices", until="2026-11-29T10:00:00+00:00", devices=2),
        parameters={"strategy": "fedavg"},
        privacy={"claim": "ε 3.5", "epsilon": 3.5, "delta": 1e-5, "unit": "device", "accountant": "pld"},
        evaluation={"loss_after": 0.5},
    )
    registry.publish(version(tmp_path, "1.0.1"), made)
    states = {
        "a": BundleState(version="1.0.1", state="active"),
        "b": BundleState(version="1.0.1", state="canary", serving="1.0.0"),
        "c": BundleState(version="1.0.1", state="failed", reason="AGT702 forged", serving="1.0.0"),
    }
    for number, (name, state) in enumerate(states.items()):
        store.enrol(name, number + 1, "key")
        store.put_desired(name, Desired(revision=1, bundles={"context": "1.0.1"}))
        packed = msgspec.msgpack.encode(Reported(device=name, revision=1, bundles={"context": state}))
        fleet.hear([Heard(device=name, kind="reported", time_ms=1, packed=packed)])
    return home


def test_it_tells_from_the_data_to_the_devices(home: Path) -> None:
    newest, parent = ancestry(home, "context", "")
    assert (newest.version, parent.version) == ("1.0.1", "1.0.0")
    assert newest.made.window.devices == 2
    assert [row.number for row in newest.rounds] == [1, 2]
    assert newest.attestation == "signed by its role"
    assert newest.made.parents == {"1.0.0": parent.sha256}
    assert {one.device: one.running for one in newest.devices} == {"a": "serves", "b": "on trial", "c": "failed"}
    assert {one.device: one.running for one in parent.devices} == {"b": "serves", "c": "serves"}
    assert parent.children == ("1.0.1",)


def test_the_command_says_it_as_a_tree_and_as_json(home: Path) -> None:
    done = CliRunner().invoke(main, ["lineage", "context", "--home", str(home)])
    assert done.exit_code == 0, done.output
    for part in ("run run-1: fedavg, 2 rounds", "round 2: 2 of 3 reports", "ε 3.5 at δ 1e-05", "a: serves", "AGT702"):
        assert part in done.output
    assert "└─ from context 1.0.0" in done.output
    rows = json.loads(CliRunner().invoke(main, ["lineage", "context", "1.0.1", "--home", str(home), "--json"]).output)
    assert [row["version"] for row in rows] == ["1.0.1", "1.0.0"]
    assert rows[0]["made"]["privacy"]["epsilon"] == 3.5


def test_a_version_that_is_not_published_is_named(home: Path) -> None:
    with pytest.raises(UnknownBundle, match=r"9\.9\.9"):
        ancestry(home, "context", "9.9.9")


def test_a_forged_attestation_is_said_and_not_believed(home: Path) -> None:
    path = next((home / "registry" / "targets" / "attestations").glob("*1.0.1*"))
    document = json.loads(path.read_bytes())
    document["payload"] = document["payload"][::-1]
    path.write_text(json.dumps(document))
    (newest,) = ancestry(home, "context", "1.0.1")
    assert newest.attestation.startswith("invalid")
    assert newest.made == Made()


def test_garbage_collection_knows_what_devices_run(home: Path, tmp_path: Path) -> None:
    registry = Registry.existing(home)
    for number in range(2, 5):
        registry.publish(version(tmp_path, f"1.0.{number}"))
    done = CliRunner().invoke(
        main, ["registry", "gc", "--keep", "1", "--offline", "--dry-run", "--json", "--home", str(home)]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["versions"] == [["context", "1.0.2"], ["context", "1.0.3"]]


def test_a_device_that_says_nothing_of_a_version_is_not_listed() -> None:
    told = {"a": Reported(device="a", revision=1, bundles={"other": BundleState(version="1", state="active")})}
    assert on_devices("context", "1", {}, told) == ()
