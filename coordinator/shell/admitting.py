"""Who a run is for: by what the fleet's rows say, whom it is offered to, and which of those online a round asks."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from coordinator.eligibility import Demands, Reason, Round, unfit
from coordinator.fleet.selection import parse, select
from coordinator.fleet.view import DeviceView
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.vetting import allowed
from models.spec import Spec

LOOK_S = 1.0
NOT_MEANT = Reason(code="class", what="--where does not mean it")


def meant(home: Path, demands: Demands, bundle: str, version: str) -> list[str]:
    """The devices, by name, that a run is offered to: what may still change while it is offered keeps nobody out."""
    asked = Round(bundle=bundle, version=version, classes=demands.classes)
    devices = [device for device in FleetStore(home).views() if not device.revoked]
    found = select(devices, parse(demands.where))
    return [device.name for device in found if "class" not in {reason.code for reason in unfit(device, asked)[0]}]


class Admission:
    """Which of the nodes that are online a round may ask: neither quarantined nor known not to fit.

    Attributes:
        out: code → how many nodes it keeps out (of each the first), without quarantine; as of the last question.
    """

    def __init__(self, home: Path, demands: Demands, spec: Spec) -> None:
        self.out: Counter[str] = Counter()
        self._home, self._terms = home, parse(demands.where)
        self._asked = Round(
            bundle=spec.name, version=spec.version, classes=demands.classes, examples_min=demands.examples_min
        )
        self._last: tuple[float, list[int], list[int]] = (-math.inf, [], [])

    def __call__(self, nodes: Sequence[int]) -> list[int]:
        """Those that may be asked, in their order; about the same nodes the database is asked once a second."""
        now, given = time.monotonic(), list(nodes)
        if now - self._last[0] > LOOK_S or self._last[1] != given:
            self._last = (now, given, self._found(given))
        return list(self._last[2])

    def _found(self, nodes: list[int]) -> list[int]:
        there = allowed(self._home, nodes)
        views = {device.node: device for device in FleetStore(self._home).views()}
        why = {node: self._reasons(views[node]) if node in views else () for node in there}
        self.out = Counter(reasons[0].code for reasons in why.values() if reasons)
        return [node for node in there if not why[node]]

    def _reasons(self, device: DeviceView) -> tuple[Reason, ...]:
        return unfit(device, self._asked)[0] if all(term.meets(device) for term in self._terms) else (NOT_MEANT,)

    def told(self) -> str:
        """Whom it leaves out, as part of a sentence; empty: nobody."""
        said = ", ".join(f"{count} by {code}" for code, count in self.out.most_common())
        return f" that fit (the run is not for {said})" if said else ""
