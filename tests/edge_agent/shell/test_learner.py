"""The learner as a real child process: what it refuses, what it says, and that it executes nothing it is sent."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from coordinator.shell import flower, pki
from coordinator.shell.enrol import revoke
from edge_agent.shell.pipe import LearnTask
from firmware_configs.messages import RoundOffer
from models.bundle import open_bundle
from tests.coordinator.fleet import CONTEXT, Coordinator, Device, Said, granted, run_learner

BAIT = Path(__file__).parents[2] / "coordinator" / "bait"
NAMES = [p.name for p in open_bundle(CONTEXT).spec.of_share("shared")]
PLAN = {
    "bundle": "context",
    "version": "1.0.0",
    "round": 1,
    "rounds": 2,
    "epochs": 1,
    "lr": 0.1,
    "batch": 16,
    "negatives": 0,
    "clip_norm": 5.0,
    "prox_mu": 0.0,
    "seed": 0,
}
OFFER = RoundOffer(run="1", bundle="context", version="1.0.0", superlink="", app_hash="0" * 64, closes_ms=0)


def _offer(**given: Any) -> RoundOffer:
    return msgspec.structs.replace(OFFER, **given)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def device(tmp_path: Path) -> Device:
    made = Device("alone", tmp_path / "alone")
    made.make_key()
    made.live_through(30, seed=0)
    return made


def test_an_unreachable_superlink_is_named_with_its_fix(device: Device, place: Coordinator) -> None:
    address = f"127.0.0.1:{_free_port()}"
    said = run_learner(device.task(_offer(superlink=address), place.ca))
    assert said.ended is not None
    assert said.ended.code == "AGT502"
    assert address in said.ended.reason
    assert "superlink.address" in said.ended.reason
    assert said.asked == []


def test_a_superlink_with_a_certificate_of_another_authority_is_not_trusted(
    device: Device, place: Coordinator, tmp_path: Path
) -> None:
    stranger = pki.ensure_authority(tmp_path / "stranger").certificate
    said = run_learner(device.task(_offer(superlink=place.running.endpoints.superlink), str(stranger)))
    assert said.ended is not None
    assert said.ended.code == "AGT502"
    assert "certificate" in said.ended.reason.lower()


def test_a_device_that_was_never_enrolled_is_refused(device: Device, place: Coordinator) -> None:
    said = run_learner(device.task(_offer(superlink=place.running.endpoints.superlink), place.ca))
    assert said.ended is not None
    assert said.ended.code == "AGT503"
    assert "edge-coordinator nodes enrol" in said.ended.reason


def test_a_revoked_device_is_refused(device: Device, place: Coordinator) -> None:
    gone = Device("gone", device.folder)
    place.enrol([gone])
    assert revoke(place.home, gone.name).name == "gone"
    said = run_learner(gone.task(_offer(superlink=place.running.endpoints.superlink), place.ca))
    assert said.ended is not None
    assert said.ended.code == "AGT503"


@pytest.mark.parametrize("broken", ["no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_broken_node_key_is_named(device: Device, place: Coordinator, broken: str) -> None:
    device.key.write_text(broken)
    said = run_learner(device.task(_offer(superlink=place.running.endpoints.superlink), place.ca))
    assert said.ended is not None
    assert said.ended.code == "AGT503"
    assert "edge-agent keys new" in said.ended.reason


def _only_locally(device: Device, **other: object) -> Said:
    """A task that ends before any connection is opened: nobody listens there."""
    return run_learner(device.task(_offer(superlink=f"127.0.0.1:{_free_port()}"), "", **other))


def test_without_examples_no_connection_is_opened(device: Device) -> None:
    said = _only_locally(device, subjects=("somebody-else",))
    assert said.ended is not None
    assert said.ended.code == "AGT501"
    assert "no examples" in said.ended.reason


def test_examples_past_their_retention_are_not_learned_from(tmp_path: Path) -> None:
    old = Device("old", tmp_path / "old")
    old.make_key()
    old.live_through(30, seed=0, expires_ms=1)
    said = _only_locally(old)
    assert said.ended is not None
    assert "no examples" in said.ended.reason


def test_a_database_that_is_not_there_is_named(device: Device) -> None:
    said = _only_locally(device, database=str(device.folder / "nowhere.db"))
    assert said.ended is not None
    assert said.ended.code.startswith("AGT3")


def test_a_damaged_bundle_is_named(device: Device, tmp_path: Path) -> None:
    broken = tmp_path / "context-1.0.0.edgeward"
    broken.write_bytes(CONTEXT.read_bytes()[:-200])
    said = _only_locally(device, path=str(broken))
    assert said.ended is not None
    assert said.ended.code.startswith("MOD")


class Bait:
    """One run of a hostile app that asks five devices for five different things."""

    KINDS = ("honest", "curious", "forbidden", "mistaken", "elsewhere")

    def __init__(self, place: Coordinator, folder: Path) -> None:
        self.homes = {kind: folder / kind / "user" for kind in self.KINDS}
        self.said: dict[str, Said] = {}
        devices = {kind: Device(f"bait-{kind}", folder / kind) for kind in self.KINDS}
        for n, device in enumerate(devices.values()):
            device.live_through(30, seed=n)
        place.enrol(list(devices.values()))
        nodes = {kind: str(place.store.device(device.name).node) for kind, device in devices.items()}
        job = folder / "job.json"
        asks: dict[str, dict[str, object]] = {node: {} for node in nodes.values()}
        asks[nodes["curious"]] = {"names": [*NAMES, "offset"]}
        until = [nodes["honest"], nodes["curious"]]
        job.write_text(json.dumps({"bundle": str(CONTEXT), "plan": PLAN, "ask": asks, "until": until}))
        run, self.app_hash = flower.start_run(place.home, BAIT, job)
        superlink = place.running.endpoints.superlink
        closes = int((time.time() + 40) * 1_000)
        offer = _offer(run=run, superlink=superlink, app_hash=self.app_hash, closes_ms=closes)
        tasks = {kind: device.task(offer, place.ca) for kind, device in devices.items()}
        tasks["mistaken"] = devices["mistaken"].task(msgspec.structs.replace(offer, app_hash="f" * 64), place.ca)
        tasks["elsewhere"] = devices["elsewhere"].task(msgspec.structs.replace(offer, run="17"), place.ca)
        self._run(tasks)
        heard = json.loads(job.with_suffix(".heard").read_text())
        self.heard = {kind: heard.get(node, "") for kind, node in nodes.items()}

    def _run(self, tasks: dict[str, LearnTask]) -> None:
        def learn(kind: str) -> None:
            self.homes[kind].mkdir(parents=True)
            environment = {**os.environ, "HOME": str(self.homes[kind])}
            verdict = (lambda _ask: False) if kind == "forbidden" else granted
            self.said[kind] = run_learner(tasks[kind], verdict, environment)

        threads = [threading.Thread(target=learn, args=(kind,)) for kind in tasks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def end(self, kind: str) -> tuple[str, str]:
        ended = self.said[kind].ended
        assert ended is not None, self.said[kind].stderr
        return ended.code, ended.reason


@pytest.fixture(scope="module")
def bait(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> Bait:
    return Bait(place, tmp_path_factory.mktemp("bait"))


def test_code_that_the_server_offers_is_never_executed(bait: Bait) -> None:
    assert bait.heard["honest"] == "update", "it took part in the run whose app would leave a mark"
    for home in bait.homes.values():
        assert list(home.rglob("EXECUTED")) == []


def test_the_learner_leaves_nothing_behind(bait: Bait) -> None:
    for home in bait.homes.values():
        assert list(home.rglob("*")) == []


def test_a_server_that_asks_for_personal_parameters_gets_a_named_refusal(bait: Bait) -> None:
    code, reason = bait.end("curious")
    assert code == "AGT501"
    assert "offset" in reason
    assert bait.heard["curious"].startswith("AGT501")
    assert [(ask.kind, ask.privacy) for ask in bait.said["curious"].asked] == [
        ("update", "a refusal: an error code and its text")
    ]


def test_nothing_is_sent_that_the_ledger_has_not_entered(bait: Bait) -> None:
    code, reason = bait.end("forbidden")
    assert code == "AGT400"
    assert "not declared" in reason
    assert bait.heard["forbidden"] != "update"
    assert bait.said["forbidden"].report is None


def test_an_app_other_than_the_announced_one_is_refused(bait: Bait) -> None:
    code, reason = bait.end("mistaken")
    assert code == "AGT501"
    assert bait.app_hash[:12] in reason
    assert bait.said["mistaken"].asked == []


def test_a_run_other_than_the_offered_one_is_refused(bait: Bait) -> None:
    code, reason = bait.end("elsewhere")
    assert code == "AGT501"
    assert "the offer was run 17" in reason
    assert bait.said["elsewhere"].asked == []


def test_a_run_that_ends_early_takes_no_personal_parameters_with_it(bait: Bait) -> None:
    code, reason = bait.end("honest")
    assert code == "AGT501"
    assert "after 1 rounds" in reason
    assert bait.said["honest"].report is None


def test_a_run_that_is_no_run_is_refused_before_any_connection(device: Device) -> None:
    said = _only_locally(device, run="../../etc")
    assert said.ended is not None
    assert said.ended.code == "AGT501"


def test_a_learner_ends_when_its_parent_is_gone(device: Device) -> None:
    """The pipe closes in the middle of the task: nothing is started, nothing hangs."""
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_agent.shell.learner"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    out, _ = child.communicate(b"\x00\x00\x10\x00half a task", timeout=30)
    assert out == b""
    assert child.returncode != 0


def test_the_learners_memory_is_bounded(bait: Bait) -> None:
    assert np.median([bait.said[kind].peak_mib for kind in bait.KINDS]) < 200
