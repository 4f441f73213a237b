"""A run for some devices only: who is offered it, who is asked, and who refuses by itself, on a real SuperLink."""

import threading
import time
from pathlib import Path

import msgspec
import pytest

from coordinator.errors import UnknownDevice
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.listening import word
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import Outcome, train
from firmware_configs.messages import RoundOffer, Status
from tests.coordinator.fleet import Coordinator, Device, learn_together, run_learner


def say_status(home: Path, device: str, *, examples: int, device_class: str) -> None:
    """What a device tells of itself by MQTT, as the listener takes it in."""
    now = int(time.time() * 1_000)
    told = Status(
        device=device, online=True, device_class=device_class, counters={"examples.context": examples}, time_ms=now
    )
    heard = word(device, "status", msgspec.msgpack.encode(told), now, live=True, as_json=False)
    assert heard is not None
    FleetStore(home).hear([heard])


@pytest.mark.slow
def test_only_devices_that_fit_are_asked_and_one_that_does_not_says_why(place: Coordinator, tmp_path: Path) -> None:
    names = {"fit-1": 40, "fit-2": 80, "poor": 60, "few": 10, "door": 40, "elsewhere": 40}
    devices = {name: Device(name, tmp_path / name) for name in names}
    for n, (name, count) in enumerate(names.items()):
        devices[name].live_through(count, seed=n)
    place.enrol(list(devices.values()))
    FleetStore(place.home).join("pilot", [name for name in names if name != "elsewhere"])
    say_status(place.home, "fit-1", examples=40, device_class="home-gateway")
    say_status(place.home, "poor", examples=5, device_class="home-gateway")
    say_status(place.home, "door", examples=40, device_class="doorbell")
    request = Request(
        bundle="context",
        where=("group:pilot",),
        classes=("home-gateway",),
        examples_min=30,
        minimum_reports=2,
        wait_s=0.0,
        deadline_s=30.0,
    )
    outcome: list[Outcome] = []
    worker = threading.Thread(target=lambda: outcome.append(train(place.home, request, print)))
    worker.start()
    offer = place.offer_of("fit-1")
    assert (offer.classes, offer.examples_min, offer.window_ms) == (("home-gateway",), 30, 0)
    assert [name for name in names if place.store.desired(name).offer] == ["fit-1", "fit-2", "poor", "few"]
    path = str(Registry.existing(place.home).find("context", offer.version))
    tasks = [
        devices[name].task(offer, place.ca, version=offer.version, path=path, device_class="home-gateway")
        for name in ("fit-1", "fit-2", "poor", "few")
    ]
    said = learn_together(tasks)
    worker.join(60)
    (row,) = outcome[0].rounds
    assert (row.unfit, row.asked, row.reports, row.refused) == (1, 3, 2, 1)
    ends = [one.ended.reason if one.ended else "?" for one in said]
    assert ends[:2] == ["", ""], said[0].stderr
    assert "before its last one" in ends[2], "it was online, and never asked"
    assert "10 examples, the round is for devices with 30" in ends[3]
    assert ["refusal" in ask.privacy for ask in said[3].asked] == [True]


@pytest.mark.slow
def test_a_run_that_is_for_nobody_is_refused_before_it_begins(place: Coordinator, tmp_path: Path) -> None:
    place.enrol([Device("lonely", tmp_path)])
    say_status(place.home, "lonely", examples=9, device_class="home-gateway")
    with pytest.raises(UnknownDevice, match="for none of the enrolled") as caught:
        train(place.home, Request(bundle="context", where=("group:nobody",)), print)
    assert "edge-coordinator cohort" in caught.value.hint


def test_a_learner_whose_examples_are_fewer_than_the_offer_wants_connects_to_nobody(tmp_path: Path) -> None:
    device = Device("poor", tmp_path)
    device.live_through(10, seed=1)
    offer = RoundOffer(run="1", bundle="context", version="1.0.0", superlink="h:1", app_hash="", closes_ms=0)
    said = run_learner(device.task(offer, "", examples_min=11))
    assert said.ended is not None
    assert (said.ended.code, said.asked) == ("AGT501", [])
    assert "10 examples, the round is for devices with 11" in said.ended.reason
