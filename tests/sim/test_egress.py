"""What a child asks to send is on the medium before the child may send it, and is not sent while it cannot be."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from edge_agent.egress import ledger
from edge_agent.happenings import EgressAsked
from edge_agent.shell import database
from edge_agent.shell.children import Children
from edge_agent.shell.pipe import EgressAnswer
from tests.sim.disk import ledger_rows
from tests.sim.wire import Cut
from tests.sim.world import World

SHA256 = hashlib.sha256(b"an update").hexdigest()
# The simulated profile declares no updates; the door is the same for all that a child sends.
ASK = EgressAsked(token="7-1", kind="status", destination="superlink", bytes=9, sha256=SHA256, privacy="", run="7")


class Line(Children):
    """The way to the learner: on each answer it looks at what a plug that is pulled now would leave."""

    def __init__(self, world: World, place: Path) -> None:
        super().__init__(lambda _name, _line: None)
        self._world, self._place = world, place
        self.answers: list[EgressAnswer] = []
        self.left: list[bool] = []

    def answer(self, word: EgressAnswer) -> None:
        self.answers.append(word)
        self.left.append(self._is_left())

    def _is_left(self) -> bool:
        store, copy = self._world.store, self._place / f"plug-{len(self.answers)}"
        synced, connection = store.synced, store._connection
        store._connection = type("Open", (), {"close": lambda _self: None})()
        store.leave(copy, Plug(), plug=True)
        store._connection, store.synced = connection, synced
        return is_entered(copy / database.FILE)


class Plug(Random):
    """The worst one: what was not synced is gone."""

    def randint(self, a: int, _b: int) -> int:
        return a


def is_entered(path: Path) -> bool:
    return any(ledger.unpack(row).sha256 == SHA256 for row in ledger_rows(path))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(2, tmp_path / "world")
    while world.broker.queue or world.broker.open or world.store.waiting(0, 1):
        world.turn()
    yield world
    world.loop.close()


def asked(world: World, place: Path) -> Line:
    line = Line(world, place)
    world.loop.errands.children = line
    world.loop.errands.news.append(ASK)
    return line


def test_a_child_may_send_only_what_a_pulled_plug_would_leave_in_the_ledger(world: World, tmp_path: Path) -> None:
    line = asked(world, tmp_path)
    world.turn()
    assert [(one.token, one.granted) for one in line.answers] == [("7-1", True)]
    assert line.left == [True]


def test_who_dies_at_the_commit_has_told_no_child_to_send(world: World, tmp_path: Path) -> None:
    for boundary in range(2):
        line = asked(world, tmp_path)
        world.fuse.left = boundary
        with pytest.raises(Cut):
            world.loop.turn()
        assert line.answers == []
        world.fuse.left = -1


def test_a_child_sends_nothing_while_the_ledger_cannot_be_written(world: World, tmp_path: Path) -> None:
    world.store._connection.execute("PRAGMA query_only = ON")
    line = asked(world, tmp_path)
    world.turn()
    assert world.store.degraded
    assert [(one.granted, one.reason) for one in line.answers] == [(False, "the ledger cannot be written now")]
    world.store._connection.execute("PRAGMA query_only = OFF")
    world.loop.errands.news.append(ASK)
    world.turn()
    assert line.answers[-1].granted
    assert line.left[-1]
