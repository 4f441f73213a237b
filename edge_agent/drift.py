"""The profile's drift detectors: inputs, predictions, calibration and rewards, watched on the device.

Counts and sums are held, beside the values that learn a reference, which are in memory only. Whoever is erased takes
all of it along: the detectors begin anew (see `edge_agent.traces`).
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from edge_agent.alerts import Finding
from edge_agent.batch import Batch
from edge_agent.decide.decision import Trail
from edge_agent.limits import DRIFT
from edge_agent.shift_tests import Adwin, KolmogorovSmirnov, PageHinkley, Psi, ShiftTest
from firmware_configs.profile import DriftDetector

if TYPE_CHECKING:
    from edge_agent.agent import Agent

LOOK_MS = 60_000
STORE_MS = 900_000
"""How often what was counted is stored: a crash forgets no more than this, and flash is spared."""


class Row(Struct, array_like=True):
    """The stored form of a detector."""

    declared: str
    """The detector as the profile had it: of another one nothing is taken up."""
    versions: str
    """Bundles that made the values."""
    state: bytes


class _Watched:
    """One detector."""

    __slots__ = ("_last_ms", "declared", "detector", "stored", "test", "versions")

    def __init__(self, detector: DriftDetector) -> None:
        self.detector = detector
        self.declared = msgspec.json.encode(detector).decode()
        self.test = test_of(detector)
        self.versions, self.stored, self._last_ms = "", b"", -math.inf

    def take(self, value: float, now_ms: int, versions: str = "") -> None:
        """The next value; the first of another bundle's version begins anew."""
        if versions != self.versions:
            self.versions, self.test, self._last_ms = versions, test_of(self.detector), -math.inf
        every_ms = 1_000.0 * self.detector.every_s
        if math.isfinite(value) and not 0 <= now_ms - self._last_ms < every_ms:
            self._last_ms = now_ms
            self.test.add(value)

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(Row(self.declared, self.versions, self.test.pack()))

    def restore(self, packed: bytes) -> None:
        row = msgspec.msgpack.decode(packed, type=Row)
        if row.declared == self.declared:
            self.test.restore(row.state)
            self.versions, self.stored = row.versions, packed


class Drift:
    """All of a device's."""

    def __init__(self, agent: "Agent", detectors: Iterable[DriftDetector]) -> None:
        self._agent = agent
        self._watched = {detector.name: _Watched(detector) for detector in detectors}
        self._inputs: dict[str, list[_Watched]] = {}
        self._decisions: dict[tuple[str, str], list[_Watched]] = {}
        for one in self._watched.values():
            if one.detector.watch == "input":
                self._inputs.setdefault(one.detector.source, []).append(one)
            else:
                self._decisions.setdefault((one.detector.watch, one.detector.placement), []).append(one)
        self._looked_ms = self._stored_ms = 0

    def restore(self, key: str, value: bytes) -> None:
        """Take up a row of the room `meta`; of a detector that is gone, changed or unreadable: it begins anew."""
        watched = self._watched.get(key.removeprefix(DRIFT))
        if watched is not None:
            try:
                watched.restore(value)
            except msgspec.MsgspecError:
                self._agent.count("drift.unreadable")

    def event(self, source: str, fields: Mapping[str, Any], batch: Batch) -> None:
        """A minimised event came."""
        for watched in self._inputs.get(source, ()):
            value = fields.get(watched.detector.field)
            if isinstance(value, int | float):
                watched.take(float(value), batch.settled_ms)

    def decided(self, trail: Trail, batch: Batch) -> None:
        """A decision was kept."""
        if not trail.fallback and trail.bundles:
            self._tell("prediction", trail, trail.score, batch)

    def rewarded(self, trail: Trail, item: str, value: float, batch: Batch) -> None:
        """A decision's item earned something in [0, 1], or nothing."""
        self._tell("reward", trail, value, batch)
        if item == trail.items[0] and trail.bundles and not trail.scale and not trail.fallback:
            self._tell("calibration", trail, value - trail.score, batch)

    def _tell(self, watch: str, trail: Trail, value: float, batch: Batch) -> None:
        for watched in self._decisions.get((watch, trail.placement), ()):
            versions = ",".join(f"{name} {version}" for name, version in sorted(trail.bundles.items()))
            watched.take(value, batch.settled_ms, versions)

    def tick(self, batch: Batch) -> None:
        """Once a second; looks once a minute."""
        now_ms = batch.settled_ms
        if 0 <= now_ms - self._looked_ms < LOOK_MS:
            return
        self._looked_ms = now_ms
        store = not 0 <= now_ms - self._stored_ms < STORE_MS
        for name, watched in self._watched.items():
            self._agent.alerts.tell("drift", name, _finding(watched), batch)
            if store and (packed := watched.pack()) != watched.stored:
                watched.stored = packed
                batch.put("meta", DRIFT + name, packed)
        if store:
            self._stored_ms = now_ms


def test_of(detector: DriftDetector) -> ShiftTest:
    """A new test, as the profile wants it."""
    between, reference = detector.values_between_false_alarms, detector.reference
    match detector.test:
        case "psi":
            return Psi(between, reference, detector.window)
        case "ks":
            return KolmogorovSmirnov(between, reference, detector.window)
        case "page-hinkley":
            return PageHinkley(between, reference)
        case "adwin":
            return Adwin(between, reference)


def _finding(watched: _Watched) -> Finding | None:
    shift, detector = watched.test.shift, watched.detector
    if shift is None:
        return None
    what = {
        "input": f"`{detector.field}` of {detector.source}",
        "prediction": f"scores of {detector.placement}",
        "calibration": f"what {detector.placement} earned, less its scores,",
        "reward": f"rewards of {detector.placement}",
    }[detector.watch]
    return Finding(
        severity="ticket",
        what=f"{what} moved away from what was usual ({detector.test} {shift.value:.3g}, limit {shift.threshold:.3g})",
        value=shift.value,
        threshold=shift.threshold,
        placement=detector.placement,
        bundle=watched.versions if detector.watch in ("prediction", "calibration") else "",
    )
