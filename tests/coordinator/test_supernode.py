"""Flower's own SuperNode with our installed app takes part in the same run as our learner, and learns the same."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from firmware_configs.messages import RoundOffer
from models.bundle import open_bundle
from tests.coordinator.expected import expected, vector_of
from tests.coordinator.fleet import CONTEXT, Coordinator, Device, coordinator
from tests.coordinator.supernodes import seed_of, supernodes

CLIP = 20.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    """A coordinator of this module's own: others count the versions that rounds make."""
    with coordinator(tmp_path_factory.mktemp("stock")) as running:
        yield running


def test_a_supernode_of_flowers_own_gives_the_update_that_our_learner_gives(place: Coordinator, tmp_path: Path) -> None:
    ours, stock = Device("twin", tmp_path / "ours"), Device("twin-stock", tmp_path / "stock")
    for device in (ours, stock):
        device.live_through(60, seed=4)
    # Beside a twin of ours it would be left out: two reports that are the same bytes count as one node twice.
    place.enrol([stock])
    outcome: list[Outcome] = []
    request = Request(bundle="context", rounds=1, minimum_reports=1, wait_s=0.0, clip_norm=CLIP, seed=11)
    with supernodes(place, [stock], seed=seed_of(ours)):
        worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, print)))
        worker.start()
        worker.join(90)
    assert [(row.asked, row.reports) for row in outcome[0].rounds] == [(1, 1)]
    made = Registry.existing(place.home).find("context", outcome[0].version)
    assert made is not None
    offer = RoundOffer(run="1", bundle="context", version="1.0.0", superlink="", app_hash="", closes_ms=0)
    parent, got = open_bundle(CONTEXT), vector_of(open_bundle(made))
    wanted = expected(ours.task(offer, ""), parent, rounds=1, seed=11, clip=CLIP)
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert np.abs(got - vector_of(parent)).max() > 1e-3


@pytest.mark.slow
def test_a_supernode_whose_profile_lets_nothing_out_refuses_with_our_code(place: Coordinator, tmp_path: Path) -> None:
    from coordinator.errors import RoundError

    stock = Device("stock-shy", tmp_path / "shy")
    stock.live_through(20, seed=1)
    place.enrol([stock])
    request = Request(bundle="context", rounds=1, minimum_reports=1, wait_s=0.0, deadline_s=40.0)
    with supernodes(place, [stock], federated=False), pytest.raises(RoundError, match=r"AGT501 .*not federated here"):
        train(place.home, request, print)
