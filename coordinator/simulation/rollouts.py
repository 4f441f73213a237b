"""Simulated rollouts: the real machine, told what the virtual devices' own agents report."""

import msgspec
import numpy as np
from msgspec import Struct

from coordinator.rollout.beginning import begin
from coordinator.rollout.machine import ended, step
from coordinator.rollout.state import Heard, Observation, Order, Presence, Rollout, Wish, touched
from coordinator.simulation.fleet import Bools, Fleet
from coordinator.simulation.plan import Rollout as Asked
from firmware_configs.messages import BundleState, Reported

WHO = "simulation"


class Line(Struct, frozen=True, kw_only=True):
    """One line of a rollout's log."""

    hour: float
    """Since the start of the simulation."""
    what: str
    why: str
    devices: int


class Course(Struct, frozen=True, kw_only=True):
    """What became of one version."""

    bundle: str
    version: str
    state: str
    reason: str
    touched: int
    """Devices that were ever asked."""
    log: tuple[Line, ...]


class Rolling:
    """One rollout while it goes on."""

    def __init__(
        self, asked: Asked, bundle: str, version: str, fleet: Fleet, serving: dict[int, str], base: str, now_ms: int
    ) -> None:
        """Plan it.

        Args:
            serving: device → what it runs where that is not `base`.
        """
        self._fleet, self._start_ms, self.bundle, self.version = fleet, now_ms, bundle, version
        plan = asked.plan(bundle, version)
        self.every_ms = int(plan.report_every_s * 1_000)
        names = {name_of(device): () for device in range(fleet.devices)}
        runs = {name_of(device): serving.get(device, base) for device in range(fleet.devices)}
        self.rollout: Rollout = begin(f"{bundle}-{version}", plan, names, runs, "virtual", now_ms)
        self._online: Bools = np.zeros(fleet.devices, bool)
        self._first = True
        self.log: list[Line] = []

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more."""
        return ended(self.rollout) or self.rollout.state == "halted"

    def watched(self) -> list[int]:
        """The devices whose report is wanted."""
        held = {"asked", "trying", "settled", "returning"}
        return sorted(number_of(m.device) for m in self.rollout.members.values() if m.state in held)

    def look(self, online: Bools, states: dict[int, bytes], now_ms: int, hour: float) -> tuple[Order, ...]:
        """One step of the machine.

        Args:
            online: who is there now.
            states: the reports that came.
        Returns:
            What devices are to be told.
        """
        changed = np.flatnonzero(online != self._online).tolist()
        heard: list[Observation] = [Presence(device=name_of(n), online=bool(online[n])) for n in changed]
        if self._first:
            heard += [
                Heard(
                    device=m.device,
                    bundle=BundleState(version=m.before, state="active"),
                    fresh=online[number_of(m.device)],
                )
                for m in self.rollout.members.values()
            ]
            heard += [Presence(device=name_of(int(n)), online=False) for n in np.flatnonzero(~online)]
            heard.append(Wish(kind="start", who=WHO))
            self._first = False
        for device, packed in sorted(states.items()):
            word = msgspec.msgpack.decode(packed, type=Reported)
            heard.append(Heard(device=name_of(device), bundle=word.bundles.get(self.bundle)))
        self._online = online
        made = step(self.rollout, heard, now_ms)
        self.rollout = made.rollout
        self.log += [Line(hour=round(hour, 3), what=n.what, why=n.why, devices=len(n.devices)) for n in made.notes]
        return made.orders

    def course(self) -> Course:
        """How it stands."""
        return Course(
            bundle=self.bundle,
            version=self.version,
            state=self.rollout.state,
            reason=self.rollout.reason,
            touched=len(touched(self.rollout)),
            log=tuple(self.log),
        )


def name_of(device: int) -> str:
    """A virtual device's id."""
    return f"virtual-{device}"


def number_of(name: str) -> int:
    """Which device an id belongs to."""
    return int(name.rpartition("-")[2])
