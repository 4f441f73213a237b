"""Federated rounds with a real SuperLink over TLS, real learners, and a real broker between them."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from coordinator.errors import RoundError
from coordinator.shell.quarantine_store import QuarantineStore
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from edge_agent.egress.ledger import Ledger
from edge_agent.learn import parameters
from firmware_configs.cli import main as audit
from firmware_configs.ledger_evidence import Evidence
from firmware_configs.profile import Egress
from models.bundle import open_bundle
from tests.coordinator.fleet import CONTEXT, Coordinator, Device, Said, coordinator, learn_together

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    """A coordinator of this module's own: others leave versions and devices behind."""
    folder = tmp_path_factory.mktemp("train")
    with coordinator(folder, folder / "replies") as running:
        yield running


@pytest.fixture(scope="module")
def devices(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> list[Device]:
    made = [Device(f"home-{n}", tmp_path_factory.mktemp(f"home-{n}")) for n in range(3)]
    for n, device in enumerate(made):
        device.live_through(40 * (n + 1), seed=n)
    place.enrol(made)
    return made


@pytest.fixture(scope="module")
def watched() -> list[str]:
    """What `edge-coordinator watch` printed of the run below."""
    return []


@pytest.fixture(scope="module")
def trained(place: Coordinator, devices: list[Device], watched: list[str]) -> tuple[Outcome, list[Said]]:
    """Two rounds of three devices, run once for all tests below."""
    outcome: list[Outcome] = []
    request = Request(bundle="context", rounds=2, minimum_reports=3, wait_s=0.0, deadline_s=30.0, seed=5)
    worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, print)))
    worker.start()
    offer = place.offer_of(devices[0].name)
    words = [Path(sys.executable).parent / "edge-coordinator", "watch", "--json", "--home", place.home]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watching:
        said = learn_together([device.task(offer, place.ca) for device in devices])
        worker.join(60)
        watched += [*watching.communicate(timeout=60)[0].splitlines(), f"exit {watching.returncode}"]
    assert [one.ended.code for one in said if one.ended] == ["", "", ""], [one.stderr for one in said]
    return outcome[0], said


def test_rounds_run_end_to_end_and_lower_the_loss(trained: tuple[Outcome, list[Said]]) -> None:
    done, _ = trained
    assert (done.parent, done.version) == ("1.0.0", "1.0.1")
    assert [(row.number, row.state, row.asked, row.reports) for row in done.rounds] == [
        (1, "published", 3, 3),
        (2, "published", 3, 3),
    ]
    assert done.rounds[-1].loss_after < done.rounds[0].loss_before


def test_who_watched_the_run_saw_its_rounds_and_its_end(
    trained: tuple[Outcome, list[Said]], watched: list[str]
) -> None:
    done, _ = trained
    assert watched[-1] == "exit 0"
    told = [json.loads(line) for line in watched[:-1]]
    rows = [line for line in told if line["change"] == "round"]
    newest = {row["round"]: row for row in rows}
    for row in done.rounds:
        seen = newest[row.number]
        assert (seen["state"], seen["reports"], seen["loss_after"]) == ("published", 3, row.loss_after)
        assert (seen["bytes_up"], seen["bytes_down"]) == (row.bytes_up, row.bytes_down)
    assert (told[0]["key"], told[-1]["state"], told[-1]["result"]) == (done.run, "published", "1.0.1")


def test_the_new_version_is_signed_and_says_where_it_comes_from(
    place: Coordinator, trained: tuple[Outcome, list[Said]]
) -> None:
    path = Registry.existing(place.home).find("context", "1.0.1")
    assert path is not None
    made, parent = open_bundle(path), open_bundle(CONTEXT)
    assert made.spec.parents == ("1.0.0",)
    card = made.read("card.md").decode()
    assert "2 federated rounds with 3 or more devices" in card
    assert "No differential privacy" in card
    new, old = made.weights(), parent.weights()
    assert any(not np.array_equal(new[p.name], old[p.name]) for p in made.spec.of_share("shared"))
    assert all(np.array_equal(new[p.name], old[p.name]) for p in made.spec.of_share("personal"))


def test_the_record_of_replies_reconciles_with_what_each_device_entered_and_with_no_other(
    place: Coordinator, devices: list[Device], trained: tuple[Outcome, list[Said]], tmp_path: Path
) -> None:
    _, said = trained
    for device, own in zip(devices, said, strict=True):
        book = Ledger([Egress(kind="update", destination="superlink", purposes=("t",), bytes_day_max=10**9)], "p")
        rows = [book.enter(ask.kind, size=ask.bytes, sha256=ask.sha256, now_ms=1)[2] for ask in own.asked]
        books = tmp_path / f"{device.name}.ledger"
        books.write_bytes(msgspec.msgpack.encode(Evidence(device="", rows=tuple(rows))))
        for other in devices:
            record = place.home.parent / "replies" / f"{other.name}.jsonl"
            done = CliRunner().invoke(audit, ["ledger", "reconcile", str(books), "--record", str(record), "--json"])
            told = json.loads(done.stdout)
            assert done.exit_code == (0 if other is device else 1)
            if other is device:
                assert (told["matched"], told["undeclared"], told["unheard"]) == (len(own.asked), [], 0)
            else:
                assert len(told["undeclared"]) == len(own.asked)


def test_what_the_ledgers_entered_is_what_the_superlink_received(trained: tuple[Outcome, list[Said]]) -> None:
    done, said = trained
    for n, row in enumerate(done.rounds):
        assert row.bytes_up == sum(one.asked[n].bytes for one in said)
    assert {ask.kind for one in said for ask in one.asked} == {"update"}
    assert all("clip 20" in ask.privacy for one in said for ask in one.asked)


def test_an_update_takes_less_than_the_parameters_it_changes(trained: tuple[Outcome, list[Said]]) -> None:
    """The bundle is tiny (105 numbers); Flower's envelope of about 1,200 bytes is most of what leaves."""
    _, said = trained
    numbers = sum(int(np.prod(p.shape)) for p in open_bundle(CONTEXT).spec.of_share("shared"))
    assert all(ask.bytes < numbers + 1_500 for one in said for ask in one.asked)


def test_personal_parameters_go_to_the_parent_process_only(trained: tuple[Outcome, list[Said]]) -> None:
    _, said = trained
    for one in said:
        assert one.report is not None
        own = parameters.unpack(one.report.personal["household"])
        assert set(own) == {"offset"}
        assert own["offset"].any()


def test_devices_are_told_to_run_the_result_and_the_offer_is_withdrawn(
    place: Coordinator, devices: list[Device], trained: tuple[Outcome, list[Said]]
) -> None:
    for device in devices:
        desired = place.store.desired(device.name)
        assert desired.bundles == {"context": "1.0.1"}
        assert desired.offer is None
        assert desired.registry == place.running.endpoints.registry


def test_too_few_reports_abandon_the_run_and_publish_nothing(
    place: Coordinator, devices: list[Device], trained: tuple[Outcome, list[Said]]
) -> None:
    before = Registry.existing(place.home).published()
    failure: list[RoundError] = []
    request = Request(bundle="context", rounds=1, minimum_reports=2, join_s=1.0, deadline_s=20.0)

    def try_to_train() -> None:
        with pytest.raises(RoundError) as caught:
            train(place.home, request, print)
        failure.append(caught.value)

    worker = threading.Thread(target=try_to_train)
    worker.start()
    worker.join(60)
    assert "0 nodes are online, 2 reports are needed" in str(failure[0])
    run = place.store.runs()[0]
    assert run.ended
    assert run.result == ""
    (row,) = place.store.rounds(run.key)
    assert row.state == "abandoned"
    assert "2 reports are needed" in row.reason
    assert Registry.existing(place.home).published() == before
    assert place.store.desired(devices[0].name).offer is None


def test_devices_that_lie_are_left_out_or_bounded(
    place: Coordinator, trained: tuple[Outcome, list[Said]], tmp_path: Path
) -> None:
    kinds = ("bomb", "mumble", "pull")
    liars = {kind: Device(f"liar-{kind}", tmp_path / kind) for kind in kinds}
    honest = Device("liar-honest", tmp_path / "honest")
    honest.live_through(40, seed=9)
    place.enrol([honest, *liars.values()])
    outcome: list[Outcome] = []
    request = Request(bundle="context", rounds=1, minimum_reports=1, wanted=4, join_s=60.0, wait_s=0.0, clip_norm=2.0)
    worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, print)))
    worker.start()
    offer = place.offer_of(honest.name)
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.coordinator.liar", kind),
                *(offer.superlink, place.ca, str(liar.key), offer.run, offer.app_hash),
            ]
        )
        for kind, liar in liars.items()
    ]
    parent = Registry.existing(place.home).find("context", offer.version)
    assert parent is not None
    (said,) = learn_together([honest.task(offer, place.ca, version=offer.version, path=str(parent))])
    worker.join(90)
    for process in processes:
        process.wait(30)
    (row,) = outcome[0].rounds
    assert (row.asked, row.reports, row.refused) == (4, 1, 3)
    made = Registry.existing(place.home).find("context", outcome[0].version)
    assert made is not None
    old, new = open_bundle(parent).weights(), open_bundle(made).weights()
    moved = float(np.sqrt(sum(((new[name] - old[name]) ** 2).sum() for name in new)))
    assert 0.0 < moved <= 2.0 * 1.01
    assert said.report is not None
    # Who sends what no agent can send is not asked again.
    entry = QuarantineStore(place.home).entries()
    assert list(entry) == ["liar-pull"]
    assert "bound" in entry["liar-pull"].reason
