"""One filled home for all tests of the dashboard; who changes it takes a copy."""

import time
from pathlib import Path

import pytest

from tests.coordinator.dashboard import world


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled") / "home"
    world.fill(folder, int(time.time() * 1_000))
    return folder
