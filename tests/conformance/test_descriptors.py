"""What an agent opens it closes, whether it leaves in order or its power fails; so do the suite's own clients."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.brokers import Place
from tests.conformance.device import Device, drive, profile, url, write
from tests.conformance.peer import peer


def descriptors() -> dict[int, str]:
    """What this process holds open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except FileNotFoundError:
            continue  # of the listing itself
    return found


@pytest.mark.parametrize("leave", [Device.close, Device.vanish])
def test_an_agent_that_is_gone_holds_nothing_open(
    leave: Callable[[Device], None], running: Callable[[str], Place], name: str, folder: Path
) -> None:
    place = running("iotcore")
    file = write(folder, url(place, "plain", "5"), name, profile())

    def live() -> None:
        one = Device(file)
        with peer(place.port("plain", "5"), f"p-{name}") as p:
            assert drive(one, until=lambda: one.up), one.said
            p.say(f"conf/{name}/one", {"id": "1", "value": 1.0})
            assert drive(one, until=lambda: one.count("events") >= 1), one.said
            leave(one)

    live()  # what is loaded for the first time may stay
    gc.collect()
    gc.disable()
    try:
        before = descriptors()
        for _ in range(3):
            live()
        after = descriptors()
    finally:
        gc.enable()
    assert {number: what for number, what in after.items() if number not in before} == {}
