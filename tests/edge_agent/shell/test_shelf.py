"""The files of bundles on a device: what is loaded at a start, what a switch answers, what is deleted."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from edge_agent.effects import Switch
from edge_agent.errors import SettingsError
from edge_agent.happenings import BundleFailed, BundleReady, BundleStaged, BundleWithdrawn
from edge_agent.settings import Settings
from edge_agent.shell.deaths import DEATHS_MAX
from edge_agent.shell.shelf import HELD_MAX, BundleShelf
from edge_agent.trials import Trial
from firmware_configs.loader import parse
from tests.edge_agent.house import HOME
from tests.edge_agent.trial_house import folder
from tests.models.sample import zoo_path

OLD, NEW = "1.0.0", "1.0.1"


@pytest.fixture
def shelf(tmp_path: Path) -> BundleShelf:
    """Both versions of `context` lie there; nothing runs."""
    return _opened(tmp_path)


def _opened(tmp_path: Path, text: str = HOME, **more: object) -> BundleShelf:
    held = tmp_path / "bundles"
    if not held.exists():
        held.mkdir()
        shutil.copy(zoo_path("context"), held)
        shutil.copy(folder() / f"context-{NEW}.edgeward", held)
    settings = Settings(device="d", state_dir=str(tmp_path), **more)  # type: ignore[arg-type]
    return BundleShelf(settings, parse(text).profile)


def _recall(**stored: str | bytes) -> "Recall":
    return Recall({key.replace("_", ":"): v if isinstance(v, bytes) else v.encode() for key, v in stored.items()})


class Recall:
    """Committed rows of the room `meta`."""

    def __init__(self, rows: Mapping[str, bytes]) -> None:
        self._rows = rows

    def __call__(self, room: str, key: str) -> bytes | None:
        return self._rows.get(key) if room == "meta" else None


def _trial(stage: str, version: str = NEW) -> bytes:
    return msgspec.msgpack.encode(Trial(version=version, base=OLD, stage=stage))  # type: ignore[arg-type]


def test_what_served_serves_again_and_a_trial_goes_on_without_a_word(shelf: BundleShelf) -> None:
    news = shelf.take_up(["context"], _recall(bundle_context=OLD, trial_context=_trial("canary")))
    assert news == [BundleReady(name="context", version=OLD)]
    assert (shelf.active["context"].version, shelf.trials["context"].version) == (OLD, NEW)


def test_a_trial_whose_file_is_gone_is_withdrawn(shelf: BundleShelf) -> None:
    shelf.path("context", NEW).unlink()
    ready, out = shelf.take_up(["context"], _recall(bundle_context=OLD, trial_context=_trial("shadow")))
    assert isinstance(ready, BundleReady)
    assert isinstance(out, BundleWithdrawn)
    assert out.version == NEW
    assert shelf.trials == {}


def test_a_damaged_version_gives_way_to_the_one_before(shelf: BundleShelf) -> None:
    shelf.path("context", NEW).write_bytes(b"torn")
    failed, ready = shelf.take_up(["context"], _recall(bundle_context=NEW, previous_context=OLD))
    assert isinstance(failed, BundleFailed)
    assert failed.code == "MOD101"
    assert isinstance(ready, BundleReady)
    assert (ready.version, ready.base) == (OLD, NEW)
    assert "MOD101" in ready.reason


def test_without_one_before_it_is_named_and_nothing_serves(shelf: BundleShelf) -> None:
    shelf.path("context", NEW).write_bytes(b"torn")
    (failed,) = shelf.take_up(["context"], _recall(bundle_context=NEW))
    assert isinstance(failed, BundleFailed)
    assert shelf.active == {}


def test_a_switch_that_fails_leaves_everything_as_it_was(shelf: BundleShelf) -> None:
    shelf.switch(Switch(name="context", version=OLD, to="full"))
    shelf.path("context", NEW).write_bytes(b"torn")
    for to in ("shadow", "canary", "full"):
        said = shelf.switch(Switch(name="context", version=NEW, to=to))
        assert isinstance(said, BundleFailed)
    assert shelf.active["context"].version == OLD
    assert shelf.trials == {}


def test_a_switch_says_what_it_replaced_and_repeating_it_replaces_nothing(shelf: BundleShelf) -> None:
    assert shelf.switch(Switch(name="context", version=OLD, to="full")) == BundleReady(name="context", version=OLD)
    staged = shelf.switch(Switch(name="context", version=NEW, to="shadow"))
    assert staged == BundleStaged(name="context", version=NEW, stage="shadow")
    full = Switch(name="context", version=NEW, to="full")
    assert shelf.switch(full) == BundleReady(name="context", version=NEW, base=OLD)
    assert shelf.trials == {}
    assert shelf.switch(full) == BundleReady(name="context", version=NEW)


def test_what_is_staged_is_the_very_model_that_serves_afterwards(shelf: BundleShelf) -> None:
    shelf.switch(Switch(name="context", version=OLD, to="full"))
    shelf.switch(Switch(name="context", version=NEW, to="canary"))
    tried = shelf.trials["context"]
    shelf.switch(Switch(name="context", version=NEW, to="full"))
    assert shelf.active["context"] is tried


def test_a_file_that_holds_something_else_than_its_name_says_is_refused(shelf: BundleShelf) -> None:
    shutil.copy(zoo_path("context"), shelf.path("context", "1.7.0"))
    said = shelf.switch(Switch(name="context", version="1.7.0", to="full"))
    assert isinstance(said, BundleFailed)
    assert "holds context 1.0.0" in said.reason


def test_a_bundle_that_needs_what_the_profile_does_not_collect_does_not_serve(tmp_path: Path) -> None:
    text = HOME.replace('name = "co2"', 'name = "carbon"').replace("fields.co2", "fields.carbon")
    shelf = _opened(tmp_path, text)
    said = shelf.switch(Switch(name="context", version=OLD, to="full"))
    assert isinstance(said, BundleFailed)
    assert said.code == "AGT709"
    assert "co2" in said.reason
    assert shelf.active == {}


def test_a_trial_that_another_agent_stored_otherwise_is_forgotten(shelf: BundleShelf) -> None:
    news = shelf.take_up(["context"], _recall(bundle_context=OLD, trial_context=b"\x81\xa1x\x01"))
    assert news == [BundleReady(name="context", version=OLD)]


def test_the_profiles_backend_runs(tmp_path: Path) -> None:
    text = HOME.replace('name = "context"\nversions', 'name = "context"\nbackend = "tflite"\nversions')
    shelf = _opened(tmp_path, text)
    shelf.switch(Switch(name="context", version=OLD, to="full"))
    assert "tflite" in shelf.active["context"].run.__module__ + shelf.active["context"].run.__qualname__.lower()


def test_the_settings_own_bundle_serves_until_the_registry_has_brought_another(tmp_path: Path) -> None:
    own = tmp_path / "own" / f"context-{OLD}.edgeward"
    own.parent.mkdir()
    shutil.copy(zoo_path("context"), own)
    with pytest.raises(SettingsError):
        _opened(tmp_path, bundles=(str(own),)).unsigned(Settings(device="d", state_dir="s", bundles=(str(own),)))
    settings = Settings(device="d", state_dir=str(tmp_path), bundles=(str(own),), allow_unsigned=True)
    shelf = _opened(tmp_path)
    shelf.path("context", OLD).unlink()
    shelf.unsigned(settings)
    assert shelf.take_up(["context"], _recall()) == [BundleReady(name="context", version=OLD)]
    assert shelf.take_up(["context"], _recall(bundle_context=NEW)) == [BundleReady(name="context", version=NEW)]
    assert shelf.switch(Switch(name="context", version=OLD, to="full", reason="back")) == BundleReady(
        name="context", version=OLD, base=NEW, reason="back"
    )


def test_the_oldest_files_go_but_none_that_is_in_use(shelf: BundleShelf) -> None:
    shelf.switch(Switch(name="context", version=OLD, to="full"))
    shelf.switch(Switch(name="context", version=NEW, to="shadow"))
    for number in range(10):
        path = shelf.path("context", f"1.1.{number}")
        path.write_bytes(b"held")
        os.utime(path, (2_000_000_000 + number, 2_000_000_000 + number))
    other = shelf.folder / "context-kitchen-1.0.0.edgeward"
    other.write_bytes(b"another bundle's")
    assert shelf.prune() == 10 - HELD_MAX
    assert shelf.path("context", OLD).exists()
    assert shelf.path("context", NEW).exists()
    assert shelf.path("context", "1.1.9").exists()
    assert not shelf.path("context", "1.1.0").exists()
    assert other.exists()
    assert shelf.prune() == 0


DIES = """
import os, sys
from types import SimpleNamespace
from edge_agent.shell import shelf
from firmware_configs.loader import parse
from tests.edge_agent.house import HOME
shelf.load_model = lambda *_: os.abort()
opened = shelf.BundleShelf(SimpleNamespace(state_dir=sys.argv[1]), parse(HOME).profile)
opened.load("context", "1.0.1")
"""


def test_a_bundle_that_ends_the_process_while_it_loads_is_left_alone_after_two_deaths(shelf: BundleShelf) -> None:
    recall = _recall(bundle_context=NEW, previous_context=OLD)
    for deaths in range(DEATHS_MAX):
        assert shelf.take_up(["context"], recall)[0] == BundleReady(name="context", version=NEW), deaths
        for _ in range(deaths + 1):  # a load that ends well forgets the deaths before it
            done = subprocess.run(
                [sys.executable, "-c", DIES, str(shelf.folder.parent)], capture_output=True, check=False, timeout=60
            )
            assert done.returncode == -signal.SIGABRT, done.stderr
    failed, back = shelf.take_up(["context"], recall)
    assert isinstance(failed, BundleFailed)
    assert "died 2 times" in failed.reason
    assert isinstance(back, BundleReady)
    assert back.version == OLD


def test_a_refused_bundle_leaves_no_mark(shelf: BundleShelf) -> None:
    shelf.path("context", NEW).write_bytes(b"torn")
    for _ in range(3):
        said = shelf.switch(Switch(name="context", version=NEW, to="full"))
        assert isinstance(said, BundleFailed)
        assert said.code == "MOD101"
    assert "died" not in said.reason
    assert list(shelf.folder.glob(".*")) == []
