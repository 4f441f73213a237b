"""Federated rounds with a real SuperLink over TLS, real learners, and a real broker between them."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from coordinator.errors import RoundError
from coordinator.shell.registry_store import Registry
from coordinator.shell.enrol import enrol
from coordinator.shell.train import Outcome, Request, train
from edge_agent.learn import parameters
from models.bundle import open_bundle
from tests.coordinator.fleet import CONTEXT, Coordinator, Device, coordinator, learn_together


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    with coordinator(tmp_path_factory.mktemp("coordinator")) as running:
        yield running


@pytest.fixture(scope="module")
def devices(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> list[Device]:
    made = []
    for n in range(3):
        device = Device(f"home-{n}", tmp_path_factory.mktemp(f"home-{n}"))
        device.make_key()
        device.live_through(40 * (n + 1), seed=n)
        enrol(place.home, device.name, device.public)
        made.append(device)
    return made


def test_rounds_run_end_to_end_and_publish_a_better_version(place: Coordinator, devices: list[Device]) -> None:
    lines: list[str] = []
    outcome: list[Outcome] = []
    request = Request(bundle="context", rounds=2, minimum_reports=3, wait_s=0.0, deadline_s=30.0)
    worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, lines.append)))
    worker.start()
    offer = place.offer_of(devices[0].name)
    said = learn_together([device.task(offer, place.ca) for device in devices])
    worker.join(60)
    print(lines, outcome, said)

    assert [one.ended.code for one in said if one.ended] == ["", "", ""], [one.stderr for one in said]
    (done,) = outcome
    assert (done.parent, done.version) == ("1.0.0", "1.0.1")
    assert [(row.state, row.reports) for row in done.rounds] == [("published", 3), ("published", 3)]
    assert done.rounds[-1].loss_after < done.rounds[0].loss_before
