"""Profiles and experiments by the same way as bundles: of this fleet, whole, and with approval where they widen."""

from pathlib import Path
from typing import Any

import pytest

from coordinator.errors import NameInvalid, SignaturesMissing, VersionStale, VersionTaken
from coordinator.shell import ceremony
from coordinator.shell.keyring import Keyring, read_public
from coordinator.shell.registry_store import Registry
from edge_agent.errors import (
    ApprovalMissing,
    BundleUnavailable,
    DocumentUnfit,
    RollbackRefused,
    SignatureRejected,
    UpdateError,
)
from edge_agent.shell.documents import composed
from edge_agent.shell.pipe import Ended, Fetched, FetchTask
from firmware_configs.loader import load
from tests.attack.yard import Yard
from tests.benchmarks.load import PROFILE

pytestmark = pytest.mark.attack
NARROWER = PROFILE.replace('version = "1.0.0"', 'version = "1.0.1"').replace("{ days = 1 }", "{ days = 0.5 }")
WIDER = PROFILE.replace('version = "1.0.0"', 'version = "1.0.1"').replace("{ days = 1 }", "{ days = 30 }")


class Office:
    """A fleet whose device runs PROFILE, and two people who approve."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.running = yard.folder / "running.toml"
        self.running.write_text(PROFILE)
        self.desks = [yard.folder / name for name in ("alice", "bob")]
        self.keys = [Keyring([desk]).make(desk.name) for desk in self.desks]

    def publish(self, text: str, **more: Any) -> dict[str, int]:
        path = self.yard.folder / "new.toml"
        path.write_text(text)
        given = {"kind": "profile", "fleet": "bench", "version": "", "approved": False, **more}
        return self.yard.registry.publish_document(path, **given)[1]

    def name_approvers(self) -> None:
        public = [read_public(desk / f"{desk.name}.pub") for desk in self.desks]
        self.yard.registry.approvers("bench", public, 2)
        self.sign(0, 1)

    def sign(self, *desks: int) -> dict[str, int]:
        return ceremony.sign(Registry.existing(self.yard.home, [self.desks[n] for n in desks]))

    def task(self, **more: Any) -> FetchTask:
        given = {"kind": "profile", "name": "bench", "profile": str(self.running), **more}
        return self.yard.task(
            given.pop("number", "1.0.1"), bundles_dir=str(self.yard.folder / "b" / "bundles"), **given
        )

    def refused(self, error: type[UpdateError], **more: Any) -> str:
        word = self.yard.fetched(self.task(**more))
        assert isinstance(word, Ended)
        assert word.code == error.code, word
        assert not list((self.yard.folder / "b" / "profiles").glob("*.toml")) or "number" in more
        return word.reason

    def taken(self, **more: Any) -> Path:
        word = self.yard.fetched(self.task(**more))
        assert isinstance(word, Fetched), word
        return Path(word.path)


@pytest.fixture
def office(yard: Yard) -> Office:
    return Office(yard)


def test_a_profile_that_collects_less_is_taken_at_once(office: Office) -> None:
    assert office.publish(NARROWER) == {}
    assert office.taken().read_text() == NARROWER


def test_a_profile_that_widens_is_refused_without_its_approvers(office: Office) -> None:
    office.publish(WIDER)
    reason = office.refused(ApprovalMissing)
    assert "retention" in reason
    assert "1 of 2 people" in reason


def test_a_profile_that_widens_is_not_served_until_both_approvers_have_signed(office: Office) -> None:
    office.name_approvers()
    assert office.publish(WIDER, approved=True) == {"approved-bench": 2}
    office.refused(BundleUnavailable)
    assert office.sign(0) == {"approved-bench": 1}
    office.refused(BundleUnavailable)
    assert office.sign(1) == {}
    assert office.taken().read_text() == WIDER


def test_one_approvers_key_is_not_enough_even_for_who_can_write_to_the_server(office: Office) -> None:
    office.name_approvers()
    office.publish(WIDER, approved=True)
    office.sign(0)
    waiting = office.yard.registry.repository.waits_at("approved-bench")
    office.yard.path("approved-bench").write_bytes(waiting.read_bytes())
    office.refused(SignatureRejected)


def test_a_device_that_asks_for_three_people_does_not_take_two(office: Office) -> None:
    office.name_approvers()
    office.publish(WIDER, approved=True)
    office.sign(0, 1)
    assert "2 of 3" in office.refused(ApprovalMissing, approvals=3)


def test_a_device_that_asks_for_nobody_takes_it(office: Office) -> None:
    office.publish(WIDER)
    office.taken(approvals=0)


def test_nobody_approves_for_a_fleet_without_approvers(office: Office) -> None:
    with pytest.raises(SignaturesMissing):
        office.publish(WIDER, approved=True)


def test_a_profile_of_another_fleet_is_neither_published_nor_taken(office: Office) -> None:
    with pytest.raises(NameInvalid):
        office.publish(NARROWER, fleet="other")
    office.publish(NARROWER.replace('fleet = "bench"', 'fleet = "other"'), fleet="other")
    office.refused(BundleUnavailable)


def test_versions_of_a_profile_rise_whoever_signs_them(office: Office) -> None:
    office.publish(NARROWER)
    with pytest.raises(VersionTaken):
        office.publish(NARROWER)
    with pytest.raises(VersionStale):
        office.publish(NARROWER.replace("1.0.1", "1.0.0"))
    office.name_approvers()
    with pytest.raises(VersionTaken):
        office.publish(WIDER, approved=True)


def test_a_profile_that_is_none_is_refused(office: Office) -> None:
    office.publish(NARROWER)
    role = "fleet-bench"
    from tuf.api.metadata import TargetFile, Targets

    for number, raw in (("1.0.2", b"\xff\xfe"), ("1.0.3", b"schema = 7"), ("1.0.4", NARROWER.encode())):
        file = TargetFile.from_data(f"profiles/bench/bench-{number}.toml", raw, ["sha256"])
        office.yard.registry.file_of(file).write_bytes(raw)

        def enters(signed: Targets, file: TargetFile = file) -> None:
            signed.targets[file.path] = file

        office.yard.with_keys_of(role, enters)
    for number in ("1.0.2", "1.0.3", "1.0.4"):
        office.refused(DocumentUnfit, number=number)


def test_an_older_registry_does_not_bring_an_older_profile_back(office: Office) -> None:
    import shutil

    office.publish(NARROWER)
    before = office.yard.folder / "before"
    shutil.copytree(office.yard.home / "registry", before)
    office.publish(NARROWER.replace("1.0.1", "1.0.2"))
    office.taken(number="1.0.2")
    office.yard.mirror.folder = before
    office.refused(RollbackRefused, number="1.0.1")


EXPERIMENTS = """
[placement.presence]
name = "louder"
window_s = 3600.0
arms = [{ name = "as-it-is" }, { name = "other" }]
"""


def test_experiments_are_put_into_the_profile_that_runs(office: Office, tmp_path: Path) -> None:
    whole = composed(PROFILE, EXPERIMENTS, "x")
    path = tmp_path / "whole.toml"
    path.write_text(whole)
    (place,) = load(path).profile.placement
    assert place.experiment is not None
    assert place.experiment.name == "louder"


@pytest.mark.parametrize(
    ("text", "part"), [("[device]\nfleet='x'", "device"), ("[placement.nowhere]\nname='x'", "nowhere"), ("= 3", "TOML")]
)
def test_experiments_may_change_nothing_else(text: str, part: str) -> None:
    with pytest.raises(DocumentUnfit, match=part):
        composed(PROFILE, text, "x")
