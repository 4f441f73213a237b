"""A learner that is killed in the middle of a round, on a real SuperLink: the next goes on, and nothing is twice."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from edge_agent.effects import Put
from edge_agent.shell import held
from edge_agent.shell.pipe import AskEgress, Took, ToParent
from edge_agent.shell.store import Store as DeviceStore
from edge_agent.shell.writes import Writes
from models.bundle import open_bundle
from tests.coordinator.expected import expected, vector_of
from tests.coordinator.fleet import Coordinator, Device, Learning, Said, coordinator, start_learner

ROUNDS = 2
SEEDS = (b"\x01" * 32, b"\x02" * 32)


class Ledger:
    """The agent's side of one device: what a learner asks for is entered and kept together, as the agent does it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.rows: list[AskEgress] = []

    def hear(self, word: ToParent) -> None:
        if isinstance(word, AskEgress):
            self.rows.append(word)
        if isinstance(word, Took | AskEgress) and word.state:
            writes = Writes()
            writes.add([Put(room="round", key=word.run, value=word.state)])
            store = DeviceStore(self._device.database, 64)
            assert store.commit(writes, durable=True)
            store.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    """A coordinator of this module's own: each run starts from the version that the last one made."""
    with coordinator(tmp_path_factory.mktemp("cut")) as running:
        yield running


def learned(
    place: Coordinator, device: Device, cut: Callable[[ToParent], bool]
) -> tuple[Outcome, Ledger, list[Said], NDArray[np.float64]]:
    """One run of one device, whose learner is killed at the first word for which `cut` holds, and started again.

    Returns:
        What came of it, what was entered, what both learners said, and the parameters that it must come to.
    """
    outcome: list[Outcome] = []
    parent = Registry.existing(place.home).newest("context")
    assert parent is not None
    request = Request(
        bundle="context", rounds=ROUNDS, minimum_reports=1, wait_s=0.0, deadline_s=40.0, clip_norm=20.0, seed=5
    )
    worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, print)))
    worker.start()
    offer = place.offer_of(device.name)
    path = str(Registry.existing(place.home).find("context", parent))
    ledger, said, first = Ledger(device), [], threading.Event()
    uncut = device.task(offer, place.ca, version=parent, path=path, seed=SEEDS[0])
    wanted = expected(uncut, open_bundle(Path(path)), rounds=ROUNDS, seed=5, clip=20.0)

    def hear(learning: Learning, word: ToParent) -> None:
        ledger.hear(word)
        if not first.is_set() and cut(word):
            first.set()
            learning.kill()

    # The second learner's own seed is another one: it must go on with the first one's.
    for seed in SEEDS:
        task = device.task(offer, place.ca, version=parent, path=path, seed=seed)
        said.append(start_learner(task, hear=hear).join())
        if said[-1].ended is not None:
            break
    worker.join(90)
    assert outcome, [(one.ended, one.stderr) for one in said]
    return outcome[0], ledger, said, wanted


def is_second(word: ToParent) -> bool:
    """It has taken a message after it had answered one."""
    found = held.unpack(word.state) if isinstance(word, Took) else None
    return found is not None and found.rounds == 1


CUTS: dict[str, Callable[[ToParent], bool]] = {
    "it has taken the first message": lambda word: isinstance(word, Took),
    "the ledger has entered the first answer": lambda word: isinstance(word, AskEgress),
    "it has taken the second message": is_second,
    "the last answer is entered": lambda word: isinstance(word, AskEgress) and word.token.endswith(f"-{ROUNDS}"),
}


@pytest.mark.slow
@pytest.mark.parametrize("when", CUTS)
def test_a_learner_that_is_killed_goes_on_and_sends_nothing_twice(
    place: Coordinator, tmp_path: Path, when: str
) -> None:
    """Killed when …; the model moves as if it never was, also by what rounding took and by the personal parameters."""
    device = Device(f"cut-{list(CUTS).index(when)}", tmp_path)
    device.live_through(60, seed=7)
    place.enrol([device])
    done, ledger, said, wanted = learned(place, device, CUTS[when])
    assert [(row.state, row.reports, row.refused) for row in done.rounds] == [("published", 1, 0)] * ROUNDS
    assert said[0].ended is None, "it was not cut"
    assert said[1].ended is not None
    assert said[1].ended.code == "", said[1].ended
    assert said[1].report is not None
    # One row for each answer, and they are the very bytes that arrived.
    assert [row.token.rpartition("-")[2] for row in ledger.rows] == ["1", "2"]
    assert sum(row.bytes for row in ledger.rows) == sum(row.bytes_up for row in done.rounds)
    made = Registry.existing(place.home).find("context", done.version)
    assert made is not None
    np.testing.assert_allclose(vector_of(open_bundle(made)), wanted, atol=2e-6)
