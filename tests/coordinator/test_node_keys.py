"""A node key's life on a real SuperLink: enrolled, rotated without a gap, revoked."""

import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cli import main as coordinator_command
from coordinator.errors import DeviceTaken
from coordinator.shell.enrol import revoke, rotate
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from edge_agent.commands.device import keys as keys_command
from edge_agent.errors import NodeRefused
from edge_agent.shell.fleet import Fleet, connect
from edge_agent.shell.fleet_line import FleetLine, NodeKey
from edge_agent.shell.keys import adopt, make, next_of, node_of, note_node, prepare_next
from firmware_configs.messages import RoundOffer
from tests.coordinator.fleet import Coordinator, Device, Said, run_learner


def takes_part(place: Coordinator, device: Device) -> tuple[Outcome, Said]:
    """One round of this device alone."""
    parent = Registry.existing(place.home).newest("context")
    outcome: list[Outcome] = []
    request = Request(bundle="context", rounds=1, minimum_reports=1, wait_s=0.0, deadline_s=30.0)
    worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, print)))
    worker.start()
    offer = place.offer_of(device.name)
    path = str(Registry.existing(place.home).find("context", str(parent)))
    said = run_learner(device.task(offer, place.ca, version=parent, path=path))
    worker.join(60)
    return outcome[0], said


def is_refused(place: Coordinator, device: Device) -> bool:
    link = place.running.endpoints.superlink
    offer = RoundOffer(run="1", bundle="context", version="1.0.0", superlink=link, app_hash="0" * 64, closes_ms=0)
    ended = run_learner(device.task(offer, place.ca)).ended
    assert ended is not None
    return ended.code == "AGT503"


def test_a_key_is_rotated_without_a_gap_and_the_old_one_is_refused(place: Coordinator, tmp_path: Path) -> None:
    device = Device("turning", tmp_path / "turning")
    device.live_through(30, seed=1)
    place.enrol([device])
    node = place.store.device(device.name).node
    stolen = Device("stolen", tmp_path / "stolen")
    stolen.live_through(30, seed=1)
    stolen.key.write_bytes(device.key.read_bytes())

    done = CliRunner().invoke(keys_command, ["rotate", "--state-dir", str(device.folder), "--json"])
    assert done.exit_code == 0, done.output
    prepared = (device.folder / "node.pub.next").read_text()
    # Prepared only: the key in use counts until the coordinator says otherwise, and asking again changes nothing.
    CliRunner().invoke(keys_command, ["rotate", "--state-dir", str(device.folder)])
    assert (device.folder / "node.pub.next").read_text() == prepared

    words = ["nodes", "rotate", device.name, "--public-key", str(device.folder / "node.pub.next")]
    told = CliRunner().invoke(coordinator_command, [*words, "--home", str(place.home), "--json"])
    assert told.exit_code == 0, told.output
    assert place.store.device(device.name).node != node
    assert is_refused(place, stolen)

    outcome, said = takes_part(place, device)
    assert said.ended is not None
    assert said.ended.code == "", said.ended
    assert [row.reports for row in outcome.rounds] == [1]
    # The next key is the key now, and nothing of the old one is left.
    assert device.public.read_text() == prepared
    assert not (device.folder / "node.key.next").exists()
    assert device.key.stat().st_mode & 0o077 == 0
    # The same once more changes nothing.
    assert rotate(place.home, device.name, device.public).node == place.store.device(device.name).node

    revoke(place.home, device.name)
    assert is_refused(place, device)
    with pytest.raises(DeviceTaken, match="was revoked"):
        rotate(place.home, device.name, device.public)


def test_a_device_cannot_take_the_key_of_another(place: Coordinator, tmp_path: Path) -> None:
    ones = [Device(f"pair-{n}", tmp_path / f"pair-{n}") for n in range(2)]
    place.enrol(ones)
    with pytest.raises(DeviceTaken, match="the key of `pair-1`"):
        rotate(place.home, "pair-0", ones[1].public)


def test_there_is_nothing_to_rotate_before_the_first_key(tmp_path: Path) -> None:
    done = CliRunner().invoke(keys_command, ["rotate", "--state-dir", str(tmp_path)])
    assert done.exit_code != 0
    assert "edge-agent keys new" in str(done.output) + str(done.exception)


def test_a_device_that_was_cut_a_moment_ago_connects_again_under_the_id_beside_its_key(
    place: Coordinator, tmp_path: Path
) -> None:
    """Its node counts as online for a minute more, and Flower activates nobody twice."""
    device = Device("cut-off", tmp_path / "cut-off")
    place.enrol([device])
    link = place.running.endpoints.superlink

    def connected() -> int:
        with connect(link, place.ca, device.key, "1", "0" * 64, lambda: True) as fleet:
            return fleet.node

    def is_cut_off() -> int:
        line = FleetLine(link, place.ca, NodeKey(device.key))
        node = Fleet(line, 1, "0" * 64, lambda: True).node
        line.close()
        return node

    node = connected()
    assert node_of(device.key) == node == int(place.store.device(device.name).node)
    is_cut_off()
    assert connected() == node
    is_cut_off()
    note_node(device.key, node ^ 1)
    with pytest.raises(NodeRefused):
        connected()


@given(st.binary(max_size=40))
def test_whatever_lies_in_the_file_of_a_nodes_id_is_an_id_or_unknown(raw: bytes) -> None:
    with TemporaryDirectory() as folder:
        key = Path(folder) / "node.key"
        (Path(folder) / "node.key.node").write_bytes(raw)
        assert 0 <= node_of(key) < 2**64
        note_node(key, 2**64 - 1)
        assert node_of(key) == 2**64 - 1


def test_a_nodes_id_follows_its_key(tmp_path: Path) -> None:
    private, _ = make(tmp_path, force=False)
    prepare_next(tmp_path)
    assert node_of(private) == 0
    note_node(private, 5)
    note_node(next_of(private), 6)
    adopt(private)
    assert node_of(private) == 6
    assert node_of(next_of(private)) == 0
