"""What devices say that they run, as the broker has retained it."""

from pathlib import Path

from coordinator.shell.home import endpoints_of
from coordinator.shell.mqtt_control import Control
from coordinator.shell.store import Store
from firmware_configs.messages import Reported

WAIT_S = 2.0
"""Retained reports come at once after a subscription; those of devices that never reported never come."""


def reported_now(home: Path) -> dict[str, Reported]:
    """Device → its newest report.

    Raises:
        NotRunning: there is no broker to ask.
    """
    store = Store(home)
    known = {device.name for device in store.devices()}
    with Control(endpoints_of(home).broker, store) as control:
        control.wait_for(lambda told: known <= set(told), WAIT_S if known else 0.0)
        return {device: told for device, told in control.reported().items() if device in known}
