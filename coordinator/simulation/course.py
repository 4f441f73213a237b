"""The days of a fleet, from moment to moment: rounds at their hours, rollouts at their looks, devices in between.

Between two moments devices know nothing of each other, so each is lived only as far as somebody asks for it: whoever
takes part in a round, or has a version on trial, is there by then, and all others at the end of a day.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from coordinator.rollout.state import Order
from coordinator.simulation.devices import Devices
from coordinator.simulation.fleet import Fleet
from coordinator.simulation.plan import Plan, Rollout
from coordinator.simulation.rollouts import Course, Rolling, number_of
from coordinator.simulation.rounds import Teaching, Told, with_offer
from firmware_configs.messages import Desired, Watch
from firmware_configs.virtual import DAY_MS, HOUR_MS, Live
from models.bundle import Bundle

Publish = Callable[[Bundle, dict[str, Any], str, str], Bundle]
"""(parent, shared parameters, version, note) → the new version."""
REGISTRY = "virtual"


class Moment(Struct, frozen=True, kw_only=True, order=True):
    """Something that happens to the whole fleet."""

    at_ms: int
    what: str
    """round, look or night."""


class Days:
    """A simulation. `run` lives it; then the rest is what came out."""

    def __init__(
        self,
        plan: Plan,
        devices: int,
        days: int,
        seed: int,
        bundle: Bundle | None,
        behind: Devices,
        publish: Publish,
        say: Callable[[str], None] = lambda _line: None,
        stage: Callable[[str, int], None] = lambda _what, _devices: None,
    ) -> None:
        """Set up.

        Args:
            bundle: that the plan's rounds train.
            behind: who lives the devices.
            publish: makes a version of what rounds learned.
            say: is told what happened.
            stage: is told what begins, and with how many devices.
        """
        self.plan, self.days, self._publish, self._say, self._stage = plan, days, publish, say, stage
        self.fleet, self._behind = Fleet(plan, devices, seed), behind
        self.hours = 24 * days
        self.teaching: Teaching | None = None
        if bundle is not None and bundle.spec.train is not None and plan.rounds is not None:
            self.teaching = Teaching(plan, plan.rounds, self.fleet, behind, bundle, bundle.spec.train, seed)
        self.rollouts: list[Course] = []
        self._rolling: Rolling | None = None
        self._wanted: dict[int, Desired] = {}
        self._untold: set[int] = set()
        """Devices that were away when something was wanted of them."""
        self._serving: dict[int, str] = {}
        self._number = 0
        self._since_version = 0

    # ---- time ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live all days."""
        for day in range(self.days):
            began = self.plan.start_ms + day * DAY_MS
            for moment in self._moments(began):
                self._pass(moment)
            last = day + 1 == self.days
            self._stage(f"day {day + 1} of {self.days}", self.fleet.devices)
            self._behind.live(Live(devices=tuple(range(self.fleet.devices)), until_ms=began + DAY_MS, ends=last))
        if self._rolling is not None:
            self.rollouts.append(self._rolling.course())

    def _moments(self, began: int) -> Iterator[Moment]:
        """Of one day, as they come: a rollout that begins brings its own."""
        rounds = list(self.plan.rounds.hours) if self.plan.rounds is not None else []
        waiting = [Moment(at_ms=began + int(hour * HOUR_MS), what="round") for hour in rounds]
        if self.plan.rollout is not None:
            every = int(self.plan.rollout.report_every_s * 1_000)
            waiting += [Moment(at_ms=began + at, what="look") for at in range(0, DAY_MS, every)]
        yield from sorted(waiting)

    def _pass(self, moment: Moment) -> None:
        hour = (moment.at_ms - self.plan.start_ms) / HOUR_MS
        if moment.what == "round" and self.teaching is not None:
            self._round(self.teaching, moment.at_ms, hour)
        elif moment.what == "look":
            online = self.fleet.online(int(hour))
            self._tell([device for device in sorted(self._untold) if online[device]], moment.at_ms)
            if self._rolling is not None:
                self._look(self._rolling, moment.at_ms, hour)

    # ---- rounds --------------------------------------------------------------------------------------------

    def _round(self, teaching: Teaching, at_ms: int, hour: float) -> None:
        if self._rolling is not None:
            return  # as for real: the registry refuses a run while its bundle is rolled out
        self._number += 1
        closes_ms = at_ms + int(1_000 * self.plan.rounds.deadline_s) if self.plan.rounds else 0
        spec = teaching.bundle.spec

        def desired(device: int, run: str) -> bytes:
            offered = with_offer(self._next(device), run, spec.name, spec.version, closes_ms)
            self._wanted[device] = msgspec.structs.replace(offered, offer=None)
            return msgspec.msgpack.encode(offered)

        self._stage(f"round {self._number}", 0)
        told = teaching.round(self._number, at_ms, hour, desired)
        self._say(_told(told))
        self._since_version += told.row.state == "accounted"
        asked = self.plan.rounds
        due = asked is not None and 0 < asked.version_every <= self._since_version
        if due and self.plan.rollout is not None:
            self._since_version = 0
            self._begin(self.plan.rollout, teaching, at_ms, hour)

    def _next(self, device: int) -> Desired:
        """What was wanted of a device so far, as the next revision."""
        before = self._wanted.get(device, Desired(revision=0, registry=REGISTRY))
        return msgspec.structs.replace(before, revision=before.revision + 1)

    # ---- rollouts ------------------------------------------------------------------------------------------

    def _begin(self, asked: Rollout, teaching: Teaching, at_ms: int, hour: float) -> None:
        parent = teaching.bundle
        parts = parent.spec.version.split(".")
        version = (
            ".".join([*parts[:-1], str(int(parts[-1]) + 1)]) if parts[-1].isdigit() else f"{parent.spec.version}.1"
        )
        note = f"Simulated: {self._number} rounds of virtual devices."
        made = self._publish(parent, dict(teaching.shared), version, note)
        teaching.publish()
        serving = {device: v for device, v in self._serving.items() if v != parent.spec.version}
        self._rolling = Rolling(asked, parent.spec.name, version, self.fleet, serving, parent.spec.version, at_ms)
        self._made = made
        self._say(f"hour {hour:g}: {parent.spec.name} {version} is published; its rollout begins")
        self._look(self._rolling, at_ms, hour)

    def _look(self, rolling: Rolling, at_ms: int, hour: float) -> None:
        online = self.fleet.online(int(hour))
        watched = [device for device in rolling.watched() if online[device]]
        states = {}
        self._stage(f"rollout, hour {hour:g}", len(watched))
        if watched:
            states = self._behind.live(Live(devices=tuple(watched), until_ms=at_ms, wants_state=True))
        orders = rolling.look(online, states, at_ms, hour)
        self._order(rolling.bundle, orders)
        self._tell([n for n in sorted({number_of(one.device) for one in orders}) if online[n]], at_ms)
        if rolling.over:
            self._end(rolling)

    def _order(self, bundle: str, orders: tuple[Order, ...]) -> None:
        for order in orders:
            device = number_of(order.device)
            before = self._next(device)
            watch: dict[str, Watch] = {bundle: order.watch} if order.watch is not None else {}
            self._wanted[device] = msgspec.structs.replace(
                before, bundles={**before.bundles, bundle: order.version}, rollout=order.rollout, watch=watch
            )
            self._serving[device] = order.version
            self._untold.add(device)

    def _tell(self, devices: list[int], at_ms: int) -> None:
        """Hand over what is wanted of devices that are there."""
        if not devices:
            return
        down = self.fleet.down_bytes_s()
        self._behind.live(
            Live(
                devices=tuple(devices),
                until_ms=at_ms,
                desired=tuple(msgspec.msgpack.encode(self._wanted[device]) for device in devices),
                line_bytes_s=tuple(float(down[device]) for device in devices) if self.plan.line else (),
            )
        )
        self._untold.difference_update(devices)

    def _end(self, rolling: Rolling) -> None:
        course = rolling.course()
        self.rollouts.append(course)
        self._rolling = None
        self._say(f"rollout of {course.bundle} {course.version}: {course.state} {course.reason}")
        if course.state == "done" and self.teaching is not None:
            self.teaching.take_up(self._made)


def _told(told: Told) -> str:
    row = told.row
    if row.state == "abandoned":
        return f"hour {told.hour:g}: round {row.number} abandoned: {row.reason}"
    return (
        f"hour {told.hour:g}: round {row.number}: {row.reports} of {row.asked} reports, "
        f"loss {row.loss_before:.4f} → {row.loss_after:.4f}, {row.late} late, {told.dropped} dropped out"
    )
