"""What several test folders share: one running coordinator for the whole session."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.coordinator.fleet import Coordinator


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Coordinator]":
    """Broker, SuperLink and registry as real processes, with the zoo's `context` published."""
    from tests.coordinator.fleet import coordinator

    with coordinator(tmp_path_factory.mktemp("coordinator")) as running:
        yield running
