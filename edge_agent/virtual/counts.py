"""What virtual devices count: whole numbers by hour, so that their sum is the same in whatever order it is made."""

import numpy as np

from firmware_configs.virtual import COUNTED, HOUR_MS

PLACE = {name: number for number, name in enumerate(COUNTED)}


class Counts:
    """Of one process, since they were last told."""

    def __init__(self, start_ms: int, hours: int) -> None:
        self._start_ms, self.hours = start_ms, hours
        self._table = np.zeros((hours, len(COUNTED)), np.int64)
        self._versions: dict[str, list[int]] = {}
        self._arms: dict[str, dict[str, int]] = {}

    def hour(self, at_ms: int) -> int:
        """Which hour a moment belongs to; what comes after the end belongs to the last."""
        return min(self.hours - 1, (at_ms - self._start_ms) // HOUR_MS)

    def add(self, name: str, at_ms: int, more: int = 1) -> None:
        """Count something."""
        self._table[self.hour(at_ms), PLACE[name]] += more

    def decided(self, version: str, at_ms: int) -> None:
        """Count a decision by a version of a bundle."""
        by_hour = self._versions.setdefault(version, [0] * self.hours)
        by_hour[self.hour(at_ms)] += 1

    def tried(self, placement: str, arm: str, what: str) -> None:
        """Count something of an experiment's arm; a decision outside of experiments has none."""
        if arm:
            own = self._arms.setdefault(f"{placement} {arm}", {})
            own[what] = own.get(what, 0) + 1

    def take_arms(self) -> dict[str, dict[str, int]]:
        """What arms counted since the last time; then it starts from nothing."""
        found, self._arms = self._arms, {}
        return found

    def take(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """All counts since the last time, by name and by version; then it starts from nothing."""
        found = {name: self._table[:, place].tolist() for name, place in PLACE.items() if self._table[:, place].any()}
        versions, self._versions = self._versions, {}
        self._table[:] = 0
        return found, versions
