"""Lies of a stranger change nothing for an honest person; who may lie in her name wins, and the docs say so."""

import pytest

from tests.edge_agent.house import House
from tests.redteam.events import HONEST, LIES, LIES_TOLD, Lie, honest, told


@pytest.fixture(scope="module")
def truth() -> list[tuple[str, ...]]:
    return list(honest(House(), None))


def lie(name: str, truth: list[tuple[str, ...]]) -> Lie:
    return told(LIES_TOLD[name], truth)


@pytest.mark.parametrize("name", ["numbers and times beyond measure", "a crowd of strangers", "torn payloads"])
def test_a_stranger_changes_and_loses_nothing_of_hers(name: str, truth: list[tuple[str, ...]]) -> None:
    found = lie(name, truth)
    assert (found.lost, found.changed, found.learned) == (0, 0, 0.0)
    assert (found.rejected == LIES) == (name == "torn payloads")


def test_who_may_publish_in_her_name_wins(truth: list[tuple[str, ...]]) -> None:
    assert lie("picks in her name", truth).learned > 0.8
    assert lie("one item in her name", truth).learned < 0.2
    assert lie("the ids of events to come", truth).lost == HONEST
