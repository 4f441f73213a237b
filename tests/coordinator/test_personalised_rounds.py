"""Personalised strategies over a real SuperLink with real learners: what goes down, what comes up, what stays."""

import threading

import numpy as np
import pytest

from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from edge_agent.learn import parameters
from models.bundle import open_bundle
from tests.coordinator.fleet import CONTEXT, Coordinator, Device, Said, learn_together

pytestmark = pytest.mark.usefixtures("place")
SHARED = [p.name for p in open_bundle(CONTEXT).spec.of_share("shared")]
OURS = ("name:flat-*",)
"""Others may have used this coordinator before, and theirs may still be taken for online."""


@pytest.fixture(scope="module")
def devices(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> list[Device]:
    made = [Device(f"flat-{n}", tmp_path_factory.mktemp(f"flat-{n}")) for n in range(2)]
    for n, device in enumerate(made):
        device.live_through(40 * (n + 1), seed=n)
    place.enrol(made)
    return made


def _run(place: Coordinator, devices: list[Device], request: Request) -> tuple[Outcome, list[Said]]:
    outcome: list[Outcome] = []
    worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, print)))
    worker.start()
    offer = place.offer_of(devices[0].name)
    parent = str(Registry.existing(place.home).find("context", offer.version))
    said = learn_together([one.task(offer, place.ca, version=offer.version, path=parent) for one in devices])
    worker.join(90)
    assert [one.ended.code for one in said if one.ended] == [""] * len(devices), [one.ended for one in said]
    return outcome[0], said


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("scaffold", {"steps": 6}),
        pytest.param("ditto", {"pull": 0.2}, marks=pytest.mark.slow),
        pytest.param("fedrep", {"personal_epochs": 2}, marks=pytest.mark.slow),
        pytest.param("ifca", {}, marks=pytest.mark.slow),
    ],
)
def test_a_personalised_strategy_runs_end_to_end(
    place: Coordinator, devices: list[Device], strategy: str, options: dict[str, float]
) -> None:
    request = Request(
        bundle="context",
        rounds=2,
        minimum_reports=2,
        wait_s=0.0,
        deadline_s=60.0,
        where=OURS,
        strategy=strategy,
        options=options,
    )
    done, said = _run(place, devices, request)
    assert [(row.state, row.reports) for row in done.rounds] == [("published", 2)] * 2
    sent = {one: [ask.bytes for ask in each.asked if ask.kind == "update"] for one, each in enumerate(said)}
    numbers = sum(int(np.prod(p.shape)) for p in open_bundle(CONTEXT).spec.of_share("shared"))
    # One update and no more goes up, whatever came down.
    assert all(size < numbers + 1_500 for sizes in sent.values() for size in sizes)
    for one in said:
        assert one.report is not None
        own = parameters.unpack(one.report.personal["household"])
        assert set(own) == {"offset", *(SHARED if strategy == "ditto" else [])}


def test_frozen_tensors_are_what_they_were(place: Coordinator, devices: list[Device]) -> None:
    frozen = "hidden_weight"
    request = Request(
        bundle="context", rounds=1, minimum_reports=2, wait_s=0.0, deadline_s=60.0, where=OURS, layers=(f"{frozen}=0",)
    )
    done, _ = _run(place, devices, request)
    signed = Registry.existing(place.home)
    paths = [signed.find("context", version) for version in (done.parent, done.version)]
    before, after = (open_bundle(path).weights() for path in paths if path is not None)
    # What the train step itself leaves alone, the standardisation, does not move either.
    assert {name for name in SHARED if np.array_equal(before[name], after[name])} == {"mean", "scale", frozen}
