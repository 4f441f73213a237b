"""A version on trial whose call ends the process: found at the next start, and left alone after the second time."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.effects import Switch
from edge_agent.happenings import BundleReady, BundleWithdrawn
from edge_agent.shell.deaths import DEATHS_MAX, FILE, Deaths
from edge_agent.shell.shelf import BundleShelf
from tests.edge_agent.shell.test_shelf import NEW, OLD, _opened, _recall, _trial

DIES = """
import os, sys
from types import SimpleNamespace
import msgspec, numpy as np
from edge_agent.shell import shelf
from firmware_configs.loader import parse
from tests.edge_agent.house import HOME
load = shelf.load_model
shelf.load_model = lambda *given: msgspec.structs.replace(load(*given), run=lambda feeds: os.abort())
opened = shelf.BundleShelf(SimpleNamespace(state_dir=sys.argv[1]), parse(HOME).profile)
opened.deaths.is_tried = lambda name, version: version == sys.argv[2]
opened.load("context", "1.0.1").predict({"features": np.zeros((1, 4), np.float32)})
"""


def dies(shelf: BundleShelf, tried: str = NEW) -> None:
    """A process that ends in a call of the new version."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(shelf.folder.parent), tried], capture_output=True, check=False, timeout=120
    )
    assert done.returncode == -signal.SIGABRT, done.stderr


@pytest.mark.parametrize("stage", ["canary", "full"])
def test_after_the_second_death_the_next_start_goes_back(tmp_path: Path, stage: str) -> None:
    shelf = _opened(tmp_path)
    active = NEW if stage == "full" else OLD
    recall = _recall(bundle_context=active, previous_context=OLD, trial_context=_trial(stage))
    for _ in range(DEATHS_MAX):
        assert shelf.take_up(["context"], recall) == [BundleReady(name="context", version=active)]
        dies(shelf)
    serves, gone = _opened(tmp_path).take_up(["context"], recall)
    assert serves == BundleReady(name="context", version=active)
    reason = f"{DEATHS_MAX} calls of it ended the agent's process"
    if stage == "full":
        assert gone == BundleReady(name="context", version=OLD, base=NEW, reason=reason)
    else:
        assert gone == BundleWithdrawn(name="context", version=NEW, reason=reason)


def test_a_version_that_is_not_on_trial_is_called_without_a_mark(tmp_path: Path) -> None:
    shelf = _opened(tmp_path)
    dies(shelf, tried="another")
    assert not (shelf.folder / FILE).exists()
    shelf.take_up(["context"], _recall(bundle_context=OLD, trial_context=_trial("canary")))
    assert shelf.deaths.of("context", NEW) == 0


def test_a_process_that_ends_between_calls_says_nothing_of_the_version(tmp_path: Path) -> None:
    import numpy as np

    shelf = _opened(tmp_path)
    shelf.deaths.is_tried = lambda _name, version: version == NEW
    shelf.switch(Switch(name="context", version=NEW, to="canary"))
    shelf.trials["context"].predict({"features": np.zeros((1, 4), np.float32)})
    assert (shelf.folder / FILE).exists()
    assert Deaths(shelf.folder).bury() == ""
    assert shelf.deaths.of("context", NEW) == 0


def test_where_nothing_can_be_written_calls_go_on(tmp_path: Path) -> None:
    import numpy as np

    shelf = _opened(tmp_path)
    model = shelf.load("context", NEW)
    shelf.deaths.is_tried = lambda _name, _version: True
    (shelf.folder / FILE).mkdir()
    assert len(model.predict({"features": np.zeros((1, 4), np.float32)})) == 1


@given(st.binary(max_size=60))
def test_any_bytes_of_the_file_are_buried(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "marks"
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(raw)
    Deaths(folder).bury()
    assert not (folder / FILE).exists()
