"""Brokers that run for the whole session, one of each make, and a fresh name for each agent."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.brokers import Place, broker

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Place]]:
    """A broker by name, started when it is first asked for."""
    places: dict[str, Place] = {}
    with ExitStack() as stack:

        def get(name: str) -> Place:
            if name not in places:
                places[name] = stack.enter_context(broker(name, tmp_path_factory.mktemp(name)))
            return places[name]

        yield get


@pytest.fixture
def place(broker_name: str, running: Callable[[str], Place]) -> Place:
    """The broker of this case."""
    return running(broker_name)


@pytest.fixture
def name() -> str:
    """A device that no other test has."""
    return f"unit-{next(_numbers)}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where this agent lives."""
    return tmp_path / "agent"
