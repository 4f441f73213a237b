"""The door to the virtual devices: whoever lives them, in this process or in many, stands behind it."""

from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from firmware_configs.virtual import COUNTED, Exercise, Live, Lived, Reply

I64 = NDArray[np.int64]


class Devices(Protocol):
    """Lives devices, and counts what they do in `tally`."""

    tally: "Tally"

    def live(self, word: Live) -> dict[int, bytes]:
        """Returns the reports that were asked for: device → `firmware_configs.messages.Reported` in msgpack."""

    def exercise(self, word: Exercise) -> list[Reply]:
        """Returns one reply a device, in the order of `word.devices`."""


class Tally:
    """What all devices have counted, by hour, and what it cost this machine."""

    def __init__(self, hours: int) -> None:
        self.counts: dict[str, I64] = {name: np.zeros(hours, np.int64) for name in COUNTED}
        self.versions: dict[str, I64] = {}
        self.arms: dict[str, dict[str, int]] = {}
        self.steps = 0
        self.train_s = 0.0
        self.trained = 0

    def add(self, word: Lived) -> None:
        """Take in a word of a process."""
        for name, more in word.counts.items():
            self.counts[name] += np.array(more, np.int64)
        for version, more in word.versions.items():
            hours = len(self.counts["events"])
            self.versions[version] = self.versions.get(version, np.zeros(hours, np.int64)) + np.array(more, np.int64)
        for arm, told in word.arms.items():
            own = self.arms.setdefault(arm, {})
            for what, count in told.items():
                own[what] = own.get(what, 0) + count
        self.steps += word.steps


class Cost(Struct, frozen=True, kw_only=True):
    """What a simulation took of this machine; no result depends on it."""

    engine: str
    processes: int
    wall_s: float
    cpu_s: float
    """Of the processes that hold the devices."""
    agent_steps: int
    trained: int
    """Virtual clients that were trained."""
    train_cpu_s: float
    """Of it, for training and packing updates."""
    rss_bytes: int
    """Largest resident memory of those processes, added up."""
    empty_bytes: int
    """The same before there was any device."""
    kept_bytes: int
    """Of suspended devices, at the most."""
    kept_devices: int
