"""The whole story: a fleet, its week, its recovery, and its books."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from coordinator.shell.rollout_store import RolloutStore
from tests.chaos import books
from tests.chaos.faults import Deed, Week, plan
from tests.chaos.fleet import BROKER, GOOD, LAMP, Fleet
from tests.chaos.people import People
from tests.chaos.roads import Road
from tests.chaos.router import HUB
from tests.chaos.teaching import Teaching

TEND_S, AGAIN_S = 0.05, 5.0
RECOVER_S = 240.0
EVENING_S = 240.0
"""What a federated run has of real time before clocks step forward again."""
DEAD_EVENTS = 5
"""At a time: its database has room within its files for some hundred."""
DEAD_S, WIRE_S = 90.0, 1.0
"""Within what time a device on a full disk has used what room its database had, and what it said has left it."""
PLAN = f"""
schema = 1
bundle = "context"
version = "{GOOD}"
key = "chaos"
start = "canary"
at_risk_max = 1000
settled_decisions = 5
report_every_s = 1.0

[[cohort]]
name = "first"
share = 0.25
soak_s = 3.0

[[cohort]]
name = "everyone"
share = 1.0
soak_s = 3.0

[guard.devices]
failed_max = 1.0
silent_max = 1.0
silent_after_s = 3600.0
"""


class Days:
    """The week as it is lived."""

    def __init__(self, fleet: Fleet, people: People, week: Week, folder: Path, rate: float) -> None:
        """Args:
        rate: events a second and device.
        """
        self._fleet, self._people, self._week = fleet, people, week
        self._plan = folder / "rollout.toml"
        self._plan.write_text(PLAN)
        self._rate, self._spoken = rate, 0
        self.teaching = Teaching(fleet)
        self.evening_s = 0.0
        """How long the federated run held up the clocks."""
        self._wanted, self._is_learning, self._due_s = False, False, 0.0
        self.slept_s = 0.0
        self.late_s = 0.0
        """By how much a deed was done later than planned, at most."""
        self.rollout = ""
        """Key of the rollout, once the coordinator has taken it."""

    def live(self) -> None:
        """All of it."""
        self._began = time.monotonic()
        deeds = list(self._week.deeds)
        while (now_s := self._lived_s() - self.evening_s) < self._week.seconds or deeds:
            while deeds and deeds[0].at_s <= now_s:
                self.late_s = max(self.late_s, now_s - deeds[0].at_s)
                self._do(deeds.pop(0))
                now_s = self._lived_s() - self.evening_s
            self._pass()

    def _lived_s(self) -> float:
        return time.monotonic() - self._began

    def _pass(self) -> None:
        """A moment: people say what is due."""
        devices = self._fleet.devices
        while self._spoken < self._lived_s() * self._rate * len(devices):
            self._people.say(devices[self._spoken % len(devices)])
            self._spoken += 1
        self.tend()
        time.sleep(TEND_S)

    def _learn_together(self) -> None:
        """The evening: a federated run, in the midst of which lines are cut and the coordinator is killed."""
        began, plan, open_s = self._lived_s(), self._week.evening, 0.0
        faults = [(plan.cut_s, "cut"), (plan.join_s, "join"), (plan.kill_s, "kill")]
        waiting = sorted(faults)
        self._is_learning = True
        while self._lived_s() - began < EVENING_S and (waiting or not self.teaching.is_over):
            self._pass()
            open_s = open_s or (self._lived_s() if self.teaching.is_open else 0.0)
            while open_s and waiting and waiting[0][0] <= self._lived_s() - open_s:
                self._disturb(waiting.pop(0)[1])
        for _, fault in waiting:
            if fault == "join":
                self._disturb(fault)
        self.evening_s = self._lived_s() - began
        said(f"the evening took {self.evening_s:.0f} s; {self.teaching.books()}")

    def _disturb(self, fault: str) -> None:
        evening = self._week.evening
        if fault == "kill":
            self.teaching.kill_coordinator()
            return
        for number in evening.cut:
            self._fleet.shape(number, Road(is_cut=True) if fault == "cut" else self._week.roads[number])

    def _do(self, deed: Deed) -> None:
        fleet = self._fleet
        match deed.do:
            case "sleep":
                self.slept_s += deed.value
                fleet.clocks.sleep(deed.value)
            case "broker-stop":
                fleet.stop("broker")
            case "broker-start":
                fleet.start("broker")
            case "coordinator-kill":
                fleet.kill("coordinator")
            case "rollout":
                self._wanted = True
            case "round":
                self._learn_together()
            case _:
                for number in deed.devices:
                    self._harm(deed, number)

    def _harm(self, deed: Deed, number: int) -> None:
        fleet, device = self._fleet, self._fleet.devices[number]
        match deed.do:
            case "cut":
                fleet.shape(number, Road(is_cut=True))
            case "join":
                fleet.shape(number, self._week.roads[number])
            case "fill":
                fleet.fill(number)
            case "free":
                fleet.free(number)
            case "leap":
                fleet.clocks.leap(device, deed.value)
            case "correct":
                fleet.clocks.leap(device, 0.0)
            case "kill":
                fleet.kill(device)
            case "forget":
                fleet.forget(number)

    def tend(self) -> None:
        """Keep everything running, and begin the rollout once the coordinator takes it."""
        self._fleet.tend()
        if self._is_learning:
            self.teaching.tend()
        if self._wanted and not self.rollout and time.monotonic() >= self._due_s and self._fleet.coordinator_answers:
            self._due_s = time.monotonic() + AGAIN_S
            self.rollout = self._begin_rollout()

    def _begin_rollout(self) -> str:
        store = RolloutStore(self._fleet.home)
        begun = [*store.open()]
        store.close()
        if begun:
            return begun[0]
        try:
            said = self._fleet.call(
                "edge-coordinator", "rollout", "start", str(self._plan), "--home", str(self._fleet.home)
            )
        except (subprocess.SubprocessError, ValueError) as error:  # broker or coordinator are away just then
            print(f"the rollout cannot begin yet: {error}", file=sys.stderr)
            return ""
        return str(said["rollout"])

    def heal(self) -> None:
        """Everything is well again."""
        fleet = self._fleet
        for number, device in enumerate(fleet.devices):
            fleet.free(number)
            fleet.shape(number, self._week.roads[number])
            fleet.clocks.leap(device, 0.0)
        fleet.start("broker")

    def is_rolled_out(self) -> bool:
        """Whether rollout and run have ended, and every device's newest decision is by the right versions."""
        self.tend()
        if not self.rollout or not self.teaching.is_over:
            return False
        return not self.open_rollouts() and not self.wrong()

    def open_rollouts(self) -> list[str]:
        store = RolloutStore(self._fleet.home)
        try:
            return [*store.open()]
        finally:
            store.close()

    def wrong(self) -> list[str]:
        """Devices whose newest decision is by another version than was rolled out, or learned."""
        right = {"context": GOOD, LAMP: self.teaching.result or self._fleet.lamp}
        return [device for device in self._fleet.devices if self._people.versions.get(device) != right]

    def state(self) -> str:
        """The rollout's."""
        if not self.rollout:
            return "never begun"
        store = RolloutStore(self._fleet.home)
        try:
            return store.rollout(self.rollout).state
        finally:
            store.close()


def tell(folder: Path, agents: int, seed: int, wakes: int, wake_s: float, rate: float) -> dict[str, Any]:
    """Live the week of a seed; returns the books."""
    began, load = time.monotonic(), os.getloadavg()
    week = plan(seed, agents, wakes, wake_s)
    with Fleet(folder, agents, seed, week) as fleet:
        people = People(HUB, BROKER, fleet.devices)
        for device in fleet.nodes:
            people.agree(device)
        days = Days(fleet, people, week, folder, rate)
        said(f"{agents} agents serve after {time.monotonic() - began:.0f} s; the week takes {week.seconds:.0f} s")
        lived = time.monotonic()
        days.live()
        said(f"the week is over: {people.sent} events, {len(people.heard)} decided; everything heals")
        days.heal()
        recovered = _recover(days, people, fleet)
        wrong, state = days.wrong(), days.state()
        days.teaching.give_up()
        people.settle(RECOVER_S / 4)
        beside, dead = _end_one_on_a_full_disk(week, people, fleet)
        fleet.end_agents()
        fleet.close_door()
        left = fleet.report(folder / "records")
        people.close()
        states = {device: fleet.state_of(device) for device in fleet.devices}
        event_books = books.events(people, list(states.values()), dead)
        byte_books, undeclared = books.told(folder / "records", fleet, left["sent"])
        return {
            "agents": agents,
            "seed": seed,
            "days": round((days.slept_s + week.seconds) / 86_400, 2),
            "week_s": round(time.monotonic() - lived, 1),
            "recovered_s": recovered,
            **msgspec.to_builtins(event_books),
            "bytes": msgspec.to_builtins(byte_books),
            "undeclared": undeclared,
            "rollout": state,
            "round": msgspec.to_builtins(days.teaching.books()),
            "evening_s": round(days.evening_s, 1),
            "rows_of_the_dead": beside,
            "wrong_bundle": wrong,
            "faults": week.counts(),
            "packets_dropped": left["dropped"],
            "agent_starts": fleet.starts(),
            "unexpected_ends": {name: dict(codes) for name, codes in fleet.deaths().items()},
            "late_s": round(days.late_s, 1),
            "load": [round(load[0], 1), round(os.getloadavg()[0], 1)],
            "wall_s": round(time.monotonic() - began, 1),
        }


def _recover(days: Days, people: People, fleet: Fleet) -> float | None:
    """Say a little more until everybody answers by the right version; seconds that it took, None: not in time."""
    began = time.monotonic()
    while time.monotonic() - began < RECOVER_S:
        taken, answered = len(people.acknowledged), len(people.heard)
        if days.is_rolled_out() and answered == people.sent == taken:
            return round(time.monotonic() - began, 1)
        away = {
            "not taken": people.sent - taken,
            "not answered": people.sent - answered,
            "not on it": len(days.wrong()),
        }
        said(f"{time.monotonic() - began:.0f} s: rollout {days.state()}, {away}")
        for device in fleet.devices:
            people.say(device)
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            days.tend()
            time.sleep(TEND_S)
    return None


def _end_one_on_a_full_disk(week: Week, people: People, fleet: Fleet) -> tuple[int, range]:
    """A device decides until its disk takes no more, dials its broker again, is killed, and never starts again.

    Returns:
        Rows of its ledger that are beside the database alone, its last will and status among them; and the numbers of
        the events that were said to it meanwhile, of which the broker keeps those that it had no room for.
    """
    number = min(week.small_disks, key=lambda one: week.roads[one].bytes_s)  # 0: a wide line
    device, first = fleet.devices[number], people.sent
    state = fleet.state_of(device)
    fleet.fill(number)
    _until(lambda: books.beside(state) > 0, fleet, lambda: [people.say(device) for _ in range(DEAD_EVENTS)])
    fleet.stop("broker")
    fleet.start("broker")
    before = books.beside(state)
    _until(lambda: books.beside(state) > before, fleet)
    time.sleep(WIRE_S)
    fleet.die(device)
    return books.beside(state), range(first, people.sent)


def _until(holds: Callable[[], bool], fleet: Fleet, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Until it holds, or DEAD_S have passed."""
    until = time.monotonic() + DEAD_S
    while not holds() and time.monotonic() < until:
        meanwhile()
        fleet.tend()
        time.sleep(TEND_S)


def said(words: str) -> None:
    """To people, on stderr."""
    print(words, file=sys.stderr, flush=True)


def held(told: dict[str, Any]) -> bool:
    """Whether everything is as it should be."""
    left = told["bytes"]
    return (
        told["lost"] == told["repeated"] == told["unheard"] == 0
        and told["acknowledged"] == told["events"]
        and left["undeclared"] == left["elsewhere"] == left["broken_chains"] == 0
        and told["rollout"] == "done"
        and told["round"]["state"] in {"finished", "abandoned"}
        and told["round"]["double_spent"] == told["round"]["offers_left"] == 0
        and told["rows_of_the_dead"] > 0
        and told["wrong_bundle"] == []
        and told["recovered_s"] is not None
    )
