"""What several test folders share: one running coordinator for the whole session, and properties that repeat.

Property tests draw the same examples every time; `HYPOTHESIS_PROFILE=explore` draws others, and says how to replay one.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.coordinator.fleet import Coordinator


settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Coordinator]":
    """Broker, SuperLink and registry as real processes, with the zoo's `context` published."""
    from tests.coordinator.fleet import coordinator

    with coordinator(tmp_path_factory.mktemp("coordinator")) as running:
        yield running
