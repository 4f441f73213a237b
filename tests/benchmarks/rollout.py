"""`python -m tests.benchmarks.rollout --json`: a rollout to 10,000 simulated devices: messages, bytes, memory, cost.

Devices are simulated (`coordinator.rollout.simulated`), not agents; state machine, store on the disk and message codecs
are the real ones. There is no broker: messages are counted and measured as they are encoded. Each size runs in a
process of its own. The coordinator's memory is that of another process, which takes the finished rollout up from the
disk, hears a report of each device and rolls all of them back.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from coordinator.rollout.beginning import begin
from coordinator.rollout.machine import ended
from coordinator.rollout.plan import parse
from coordinator.rollout.simulated import Virtual, World
from coordinator.rollout.state import Order, Rollout, Wish
from coordinator.shell.rollout_line import Said
from coordinator.shell.rollout_loop import RolloutLoop
from coordinator.shell.rollout_store import RolloutStore
from firmware_configs.messages import Desired, Reported
from tests.benchmarks.load import workplace

PLAN = """
schema = 1
bundle = "context"
version = "1.1.0"
at_risk_max = {at_risk}
settled_decisions = 2
report_every_s = 60.0

[[cohort]]
share = 0.01
soak_s = 600.0
[[cohort]]
share = 0.1
soak_s = 600.0
[[cohort]]
share = 0.5
soak_s = 600.0
[[cohort]]
share = 1.0
soak_s = 600.0

[guard.errors]
[guard.latency]
[guard.reward]
drop_max = 0.02
"""
EVERY_S = 60.0
TURNS_MAX = 300
_reported = msgspec.msgpack.Decoder(Reported).decode
_desired = msgspec.msgpack.Decoder(Desired).decode


class Town:
    """The line to simulated devices: everything goes through the codecs, and is counted."""

    up = True

    def __init__(self, rollout: Rollout) -> None:
        dice = np.random.default_rng(0).spawn(len(rollout.members))
        world = World(per_minute=4.0, stage_decisions=10)
        self.devices = {
            member.device: Virtual(member.device, member.before, world, own)
            for member, own in zip(rollout.members.values(), dice, strict=True)
        }
        for device in self.devices.values():
            device.due_s = 0.0
        self.now_s = 0.0
        self.messages = {"desired": 0, "reported": 0}
        self.bytes = {"desired": 0, "reported": 0}
        self.revisions: dict[str, int] = {}
        self.newest: dict[str, bytes] = {}
        self.devices_s = 0.0

    def hear(self, _seconds: float) -> list[Said]:
        """A minute of everybody's life."""
        started = time.process_time()
        self.now_s += EVERY_S
        spoken = []
        for device in self.devices.values():
            if device.due_s <= self.now_s and (state := device.speak(self.now_s)) is not None:
                word = Reported(
                    device=device.name,
                    revision=self.revisions.get(device.name, 0),
                    bundles={"context": state},
                    ledger_head="0" * 64,
                    time_ms=int(1_000 * self.now_s),
                )
                spoken.append((device.name, msgspec.msgpack.encode(word)))
        self.newest.update(spoken)
        self.messages["reported"] += len(spoken)
        self.bytes["reported"] += sum(len(packed) for _, packed in spoken)
        self.devices_s += time.process_time() - started
        return [Said(device=name, reported=_reported(packed)) for name, packed in spoken]

    def publish(self, wanted: Sequence[tuple[str, Desired]]) -> None:
        """Encode, count, and let each device obey."""
        packed = [(device, msgspec.msgpack.encode(desired)) for device, desired in wanted]
        self.messages["desired"] += len(packed)
        self.bytes["desired"] += sum(len(one) for _, one in packed)
        started = time.process_time()
        for name, one in packed:
            word = _desired(one)
            self.revisions[name] = word.revision
            order = Order(
                device=name, version=word.bundles["context"], rollout=word.rollout, watch=word.watch.get("context")
            )
            self.devices[name].obey(order, self.now_s)
        self.devices_s += time.process_time() - started


class Silence:
    """A line on which the same reports come once, and nothing after."""

    up = True

    def __init__(self, packed: Sequence[tuple[str, bytes]]) -> None:
        self._packed = list(packed)
        self.published = 0

    def hear(self, _seconds: float) -> list[Said]:
        """All at once, then nothing."""
        said, self._packed = self._packed, []
        return [Said(device=name, reported=_reported(packed)) for name, packed in said]

    def publish(self, wanted: Sequence[tuple[str, Desired]]) -> None:
        """Encode, and forget."""
        self.published += len([msgspec.msgpack.encode(desired) for _, desired in wanted])


def clock() -> Callable[[], int]:
    """A minute a step."""
    passed = iter(range(1, 10**9))
    return lambda: next(passed) * int(1_000 * EVERY_S)


def roll_out(home: Path, count: int) -> dict[str, Any]:
    """One rollout to its end."""
    names = [f"device-{number:05}" for number in range(count)]
    plan = parse(PLAN.format(at_risk=max(20, count // 10)))
    rollout = begin("bench", plan, dict.fromkeys(names, ()), dict.fromkeys(names, "1.0.0"), "https://r:1", 1)
    store, town = RolloutStore(home), Town(rollout)
    store.begin(rollout, Wish(kind="start", who="bench"))
    loop = RolloutLoop(store, town, clock(), lambda _line: None)
    started, wall, turns = time.process_time(), time.perf_counter(), 0
    while loop.turn(0.0) and turns < TURNS_MAX:
        turns += 1
    cpu_s = time.process_time() - started - town.devices_s
    done = store.rollout("bench")
    store.verify("bench")
    store.close()
    (home / "reports").write_bytes(msgspec.msgpack.encode(list(town.newest.items())))
    return {
        "devices": count,
        "state": done.state,
        "ended": ended(done),
        "took_it": sum(device.serving == "1.1.0" or device.wanted == "1.1.0" for device in town.devices.values()),
        "turns": turns,
        "simulated_minutes": round(town.now_s / 60),
        "messages_a_device": round(sum(town.messages.values()) / count, 2),
        "desired_a_device": round(town.messages["desired"] / count, 2),
        "reported_a_device": round(town.messages["reported"] / count, 2),
        "bytes_a_device": round(sum(town.bytes.values()) / count),
        "bytes_a_reported": round(town.bytes["reported"] / town.messages["reported"]),
        "bytes_a_desired": round(town.bytes["desired"] / town.messages["desired"]),
        "coordinator_cpu_ms_a_device": round(1_000 * cpu_s / count, 4),
        "coordinator_cpu_us_a_message": round(1_000_000 * cpu_s / sum(town.messages.values()), 1),
        "wall_s": round(time.perf_counter() - wall, 1),
        "database_mib": round((home / "coordinator.db").stat().st_size / 2**20, 2),
    }


def take_up(home: Path) -> dict[str, Any]:
    """Memory of a coordinator's process that holds all of them, and has all of them go back."""
    packed = msgspec.msgpack.decode((home / "reports").read_bytes(), type=list[tuple[str, bytes]])
    before = peak_mib()
    store, line = RolloutStore(home), Silence(packed)
    store.wish("bench", Wish(kind="rollback", who="bench"))
    loop = RolloutLoop(store, line, clock(), lambda _line: None)
    loop.turn(0.0)
    store.close()
    return {"peak_rss_mib": peak_mib(), "rss_before_mib": before, "went_back": line.published}


def peak_mib() -> float:
    """Peak resident memory of this process, MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024, 1)


def measure(count: int) -> dict[str, Any]:
    """One size, in processes of its own."""
    with workplace() as home:
        found = _in_a_process(home, "--count", str(count))
        return {**found, **_in_a_process(home, "--take-up")}


def _in_a_process(home: Path, *how: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.rollout", "--home", str(home), *how]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Both sizes, and how their costs compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, default=[1_000, 10_000])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--take-up", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.home is not None:
        print(json.dumps(take_up(given.home) if given.take_up else roll_out(given.home, given.count)))
        return
    small, large = (measure(count) for count in given.sizes)
    print(
        json.dumps(
            {
                "ratio_cost_a_device": round(
                    large["coordinator_cpu_ms_a_device"] / small["coordinator_cpu_ms_a_device"], 3
                ),
                "small": small,
                "large": large,
            },
            indent=2 if given.json else None,
        )
    )


if __name__ == "__main__":
    main()
