"""What the agent does with a fetch that failed, and with one that is wanted no more: real updater, real registry."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from coordinator.shell.broker import free_port
from edge_agent.effects import Fetch
from edge_agent.errors import BundleUnavailable, DiskFull, MetadataExpired, RegistryUnreachable
from edge_agent.happenings import BundleFailed, BundleReady, DocumentFailed, Happening
from edge_agent.settings import load
from edge_agent.shell import errands as module
from edge_agent.shell import slots
from edge_agent.shell.errands import AGAIN_S, Errands
from edge_agent.shell.shelf import BundleShelf
from firmware_configs.loader import load as load_profile
from firmware_configs.targets import Kind
from tests.attack.test_documents import NARROWER
from tests.attack.yard import NEW, PATIENCE_S, Yard
from tests.benchmarks.load import write_agent

pytestmark = pytest.mark.attack


class Trip:
    """A device's errands; the test says what time it is."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        path = write_agent(yard.device, 1)
        path.write_text(path.read_text().replace(str(yard.device / "state"), str(yard.device)))
        path.write_text(path.read_text() + f'[registry]\nca = "{yard.ca}"\n')
        settings, profile = load(path, {}), load_profile(yard.device / "profile.toml").profile
        self.said: list[str] = []
        self.errands = Errands(
            settings,
            profile,
            BundleShelf(settings, profile),
            lambda _level, _code, text: self.said.append(text),
            yard.device / "edgeward.db",
        )
        self.errands.profile_path = str(yard.device / "profile.toml")
        self.nowhere = f"https://127.0.0.1:{free_port()}"

    def fetch(self, url: str, name: str = "context", version: str = NEW, kind: Kind = "bundle") -> None:
        self.errands.fetch(Fetch(name=name, version=version, registry=url, kind=kind))

    def at(self, now_s: float) -> list[Happening]:
        """Everything that happens at this time, until the updater has nothing more to do."""
        found: list[Happening] = []
        deadline = time.monotonic() + PATIENCE_S
        self.errands.start_next(now_s)
        while self.errands.children.busy("updater"):
            assert time.monotonic() < deadline, "the updater does not end"
            found += self.errands.take_news(now_s)
            self.errands.start_next(now_s)
            time.sleep(0.01)
        return found


@pytest.fixture
def trip(yard: Yard) -> Trip:
    return Trip(yard)


def test_a_registry_that_cannot_be_reached_is_tried_again_later_and_later(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S_MAX", 3 * AGAIN_S)
    trip.fetch(trip.nowhere)
    now_s = 1_000.0
    for wait_s in (30.0, 60.0, 90.0):
        (failed,) = trip.at(now_s)
        assert isinstance(failed, BundleFailed)
        assert failed.code == RegistryUnreachable.code
        assert failed.reason.endswith(f"tried again in {wait_s:.0f} s")
        assert trip.at(now_s + wait_s - 0.1) == [], "not before its time"
        now_s += wait_s


ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """What is in a folder lies on a disk without a free byte meanwhile."""
    folder.mkdir(exist_ok=True)
    held = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    size = 16 + sum(-(-len(content) // 4_096) * 4 for content in held.values())
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "full", str(folder)], check=True)
    try:
        for name, content in held.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        with (folder / "others").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4_096))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "why",
    [
        "the clock is years ahead",
        pytest.param("bundles", marks=ROOT_ONLY),
        pytest.param("trust", marks=ROOT_ONLY),
    ],
)
def test_a_device_that_cannot_take_a_version_now_tries_again_by_itself(
    trip: Trip, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing of the version, and nobody would ask for it again."""
    full = why in {"bundles", "trust"}
    if not full:
        trip.errands.settled_ms = lambda: 4_000_000_000_000
    with full_disk(trip.yard.device / why) if full else contextlib.nullcontext():
        trip.fetch(trip.yard.mirror.url)
        (failed,) = trip.at(0.0)
    code = DiskFull.code if full else MetadataExpired.code
    assert isinstance(failed, BundleFailed)
    assert (failed.code, failed.reason.endswith("tried again in 30 s")) == (code, True), failed
    trip.errands.settled_ms = lambda: 0
    (ready,) = trip.at(AGAIN_S)
    assert isinstance(ready, BundleReady)


@ROOT_ONLY
def test_a_first_update_on_a_full_disk_is_tried_again_and_ends_no_agent(trip: Trip) -> None:
    root, trust = trip.yard.folder / "given-root.json", trip.yard.device / "trust"
    root.write_bytes((trust / "root.json").read_bytes())
    shutil.rmtree(trust)
    settings = trip.errands._settings
    given = structs.replace(settings.registry, trusted_root=str(root))
    trip.errands._settings = structs.replace(settings, registry=given)
    with full_disk(trust):
        trip.fetch(trip.yard.mirror.url)
        trip.errands.start_next(0.0)
        (failed,) = trip.errands.take_news(0.0)
    assert isinstance(failed, BundleFailed)
    assert (failed.code, failed.reason.endswith("tried again in 30 s")) == (DiskFull.code, True), failed
    (ready,) = trip.at(AGAIN_S)
    assert isinstance(ready, BundleReady)


def test_what_is_refused_for_good_is_not_tried_again(trip: Trip) -> None:
    trip.fetch(trip.yard.mirror.url, version="7.7.7")
    (failed,) = trip.at(0.0)
    assert isinstance(failed, BundleFailed)
    assert (failed.code, "tried again" in failed.reason) == (BundleUnavailable.code, False)
    assert trip.at(1_000_000.0) == []


def test_a_fetch_that_works_at_last_is_not_tried_again(trip: Trip) -> None:
    trip.yard.mirror.deeds["."] = lambda visit: visit.send_error(503)
    trip.fetch(trip.yard.mirror.url)
    (failed,) = trip.at(0.0)
    assert isinstance(failed, BundleFailed)
    assert failed.code == RegistryUnreachable.code
    trip.yard.mirror.deeds.clear()
    (ready,) = trip.at(AGAIN_S)
    assert isinstance(ready, BundleReady)
    assert trip.at(1_000_000.0) == []


def test_a_retry_of_what_is_wanted_no_more_is_forgotten(trip: Trip) -> None:
    trip.fetch(trip.nowhere)
    assert len(trip.at(0.0)) == 1
    trip.errands.is_wanted = lambda _kind, _name, version: version != NEW
    assert trip.at(AGAIN_S) == []
    trip.errands.is_wanted = lambda _kind, _name, _version: True
    assert trip.at(1_000_000.0) == []


def test_a_retry_that_has_to_wait_for_the_updater_is_made_once(trip: Trip) -> None:
    trip.fetch(trip.nowhere)
    assert len(trip.at(0.0)) == 1
    trip.fetch(trip.nowhere, name="other")
    trip.errands.start_next(AGAIN_S - 1.0)
    for _ in range(5):
        trip.errands.start_next(AGAIN_S)
    names = [news.name for news in trip.at(AGAIN_S) if isinstance(news, BundleFailed)]
    assert names == ["other", "context"]


def test_a_bundle_and_a_profile_of_the_same_name_are_tried_again_each(trip: Trip) -> None:
    trip.fetch(trip.nowhere, name="bench")
    trip.fetch(trip.nowhere, name="bench", kind="profile")
    for now_s in (0.0, AGAIN_S):
        assert {type(news) for news in trip.at(now_s)} == {BundleFailed, DocumentFailed}


def test_a_bundle_that_is_wanted_no_more_when_it_is_here_does_not_serve(trip: Trip) -> None:
    trip.errands.is_wanted = lambda kind, name, version: (kind, name, version) != ("bundle", "context", NEW)
    trip.fetch(trip.yard.mirror.url)
    assert trip.at(0.0) == []
    assert trip.said == [f"context {NEW} is here, and no longer wanted"]
    assert (trip.yard.device / "bundles" / f"context-{NEW}.edgeward").exists(), "it need not be fetched again"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_profile_takes_over_only_if_it_is_still_wanted_when_it_is_here(
    trip: Trip, tmp_path: Path, wanted: bool
) -> None:
    path = tmp_path / "new.toml"
    path.write_text(NARROWER)
    trip.yard.registry.publish_document(path, "profile", "bench", "", approved=False)
    trip.errands.is_wanted = lambda kind, _name, _version: wanted or kind != "profile"
    trip.fetch(trip.yard.mirror.url, name="bench", version="1.0.1", kind="profile")
    assert trip.at(0.0) == []
    assert trip.errands.renewed is wanted
    held = slots.read(trip.yard.device)
    assert held.active.documents == ({"profile": "bench-1.0.1"} if wanted else {})
