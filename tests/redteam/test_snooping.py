"""Another client at the broker reads and writes nothing of its neighbour's."""

import shutil
from pathlib import Path

import pytest

from tests.coordinator.seat import Seat
from tests.coordinator.test_enrolment import seat
from tests.redteam.snooping import snoop, two_devices, without_lists

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")]
__all__ = ["seat"]


def test_a_neighbour_hears_and_forges_nothing_and_without_access_lists_everything(seat: Seat, tmp_path: Path) -> None:
    settings = two_devices(seat, tmp_path)
    found = snoop(*settings)
    assert (found.heard, found.forged) == (0, 0)
    control = without_lists(seat, tmp_path, settings)
    assert (control.heard, control.forged) == (control.tried, control.tried)
