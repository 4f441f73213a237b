"""Devices that are never online together, over a real SuperLink with real learners."""

import threading
import time

import pytest

from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from tests.coordinator.fleet import Coordinator, Device, Said, run_learner

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("place")]


def test_devices_that_are_never_online_together_make_versions(
    place: Coordinator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two devices in turns, each online alone, a buffer of two: each version holds a report of both."""
    devices = [Device(f"cabin-{n}", tmp_path_factory.mktemp(f"cabin-{n}")) for n in range(2)]
    for n, device in enumerate(devices):
        device.live_through(60, seed=n)
    place.enrol(devices)
    outcome: list[Outcome] = []
    request = Request(
        bundle="context", rounds=2, wait_s=0.0, deadline_s=120.0, asynchronous=True, buffer=2, staleness="poly:0.5"
    )
    worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, print)))
    worker.start()
    offer = place.offer_of(devices[0].name)
    parent = str(Registry.existing(place.home).find("context", offer.version))
    said: list[Said] = []
    for turn in range(16):
        if not worker.is_alive():
            break
        task = devices[turn % 2].task(
            offer, place.ca, version=offer.version, path=parent, closes_ms=int((time.time() + 8) * 1_000)
        )
        said.append(run_learner(task))
    worker.join(60)
    (done,) = outcome
    assert [(row.state, row.reports) for row in done.rounds] == [("published", 2)] * 2
    gave = [one for one in said if one.asked]
    assert len(gave) >= 3
    # Each device that gave a report kept its personal part, though it never saw a last round.
    assert all(one.report is not None for one in gave)
