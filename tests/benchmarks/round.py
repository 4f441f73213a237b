"""`python -m tests.benchmarks.round --json`: five rounds of four devices, our learner against Flower's SuperNode.

Both sides: a fresh coordinator (SuperLink over TLS with node keys, the same server app, plan and seed), four devices
with the same examples, the same bundle and its own train step; so both must publish the same parameters, and the
largest difference is printed. Ours are learners that start when the round is offered. Stock are `flower-supernode`
processes that have been up before it is, each with its SuperExec and a ClientApp process for each message.

`ratio_wall`: from the offer to the end of the last round. `ratio_rss`: the peak, while learning, of the proportional
set size (PSS: private pages, and each shared page divided by the processes that map it) summed over the processes of
one device; the same of RSS and of private pages (USS) stand beside it. `idle_memory_added_mib`: memory of an agent's
child processes once it has learned, above what it was before; `agent_growth_mib` is the agent's own.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from coordinator.shell.registry_store import Registry
from coordinator.shell.request import Request
from coordinator.shell.train import train
from models.bundle import open_bundle
from tests.benchmarks.load import agent_command, process, wait_for
from tests.coordinator.fleet import Coordinator, Device, coordinator, start_learner
from tests.coordinator.supernodes import settle, supernodes

DEVICES, ROUNDS, EXAMPLES = 4, 5, 400
SAMPLE_S = 0.1
SETTLE_S = 3.0
MIB = 1024 * 1024
KINDS = ("pss", "rss", "uss")
Weights = dict[str, Any]


@dataclass
class Memory:
    """Peaks of the sums over all processes of one device, MiB."""

    peak: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    processes: int = 0

    def look(self, pids: list[int]) -> None:
        """Take one sample."""
        sums, there = dict.fromkeys(KINDS, 0.0), 0
        for pid in pids:
            try:
                found = psutil.Process(pid).memory_full_info()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            there += 1
            for kind in KINDS:
                sums[kind] += getattr(found, kind) / MIB
        self.processes = max(self.processes, there)
        for kind in KINDS:
            self.peak[kind] = max(self.peak[kind], sums[kind])


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def watched(roots: Callable[[], list[int]]) -> Iterator[Memory]:
    """Sample one device's processes in the background."""
    memory, over = Memory(), threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_S):
            memory.look([pid for root in roots() for pid in family(root)])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        over.set()
        watcher.join()


def requested(rounds: int) -> Request:
    return Request(
        bundle="context", rounds=rounds, minimum_reports=DEVICES, wait_s=0.0, deadline_s=60.0, clip_norm=20.0, seed=3
    )


def followed(place: Coordinator, rounds: int, offered: Callable[[], None]) -> tuple[float, Weights]:
    """One run: seconds from its offer to the end of its last round, and the parameters that it published."""
    times: list[float] = []

    def say(line: str) -> None:
        if "offered to" in line:
            times.append(time.monotonic())
            offered()
        elif line.startswith("round "):
            times.append(time.monotonic())

    done = train(place.home, requested(rounds), say)
    path = Registry.existing(place.home).find("context", done.version)
    assert path is not None
    assert [(row.state, row.reports) for row in done.rounds] == [("published", DEVICES)] * rounds
    return times[-1] - times[0], open_bundle(path).weights()


def devices_of(folder: Path) -> list[Device]:
    made = [Device(f"home-{n}", folder / f"home-{n}") for n in range(DEVICES)]
    for n, device in enumerate(made):
        device.live_through(EXAMPLES, seed=n)
    return made


def ours(folder: Path, rounds: int) -> tuple[float, Memory, Weights]:
    """Learners, started by the offer as the agent starts them."""
    with coordinator(folder) as place:
        devices = devices_of(folder)
        place.enrol(devices)
        started: list[Any] = []

        def offered() -> None:
            started.extend(start_learner(d.task(place.offer_of(d.name), place.ca)) for d in devices)

        with watched(lambda: [one.pid for one in started[:1]]) as memory:
            seconds, weights = followed(place, rounds, offered)
            for one in started:
                said = one.join()
                assert said.ended is not None
                assert said.ended.code == "", said
        return seconds, memory, weights


def stock(folder: Path, rounds: int) -> tuple[float, Memory, Weights]:
    """SuperNodes, which are up before the offer."""
    with coordinator(folder) as place:
        devices = devices_of(folder)
        place.enrol(devices)
        with supernodes(place, devices) as running:
            for device in devices:
                log = device.folder / "supernode.log"
                wait_for(lambda log=log: "SuperExec" in log.read_text(), "a SuperNode")  # type: ignore[misc]
            time.sleep(SETTLE_S)
            with watched(lambda: [running[0].pid]) as memory:
                seconds, weights = followed(place, rounds, lambda: None)
        return seconds, memory, weights


def idle(folder: Path) -> dict[str, float]:
    """What learning leaves in memory: a real agent before its first round and after."""
    with coordinator(folder) as place:
        device = devices_of(folder)[0]
        place.enrol([device])
        settings = settle(device, place.ca, broker=place.running.endpoints.broker)
        log = device.folder / "agent.log"
        with process(*agent_command(settings), log=log) as agent:
            wait_for(lambda: " connected " in log.read_text(), "the line")
            time.sleep(SETTLE_S)
            before, children_before = Memory(), Memory()
            before.look([agent.pid])
            children_before.look(family(agent.pid)[1:])
            with watched(lambda: family(agent.pid)[1:]) as learning:
                train(place.home, msgspec.structs.replace(requested(2), minimum_reports=1), lambda _line: None)
                wait_for(lambda: len(family(agent.pid)) == 1, "the learner's end")
            time.sleep(SETTLE_S)
            after, children = Memory(), Memory()
            after.look([agent.pid])
            children.look(family(agent.pid)[1:])
    assert learning.peak["pss"] > 0.0
    return {
        "idle_memory_added_mib": round(children.peak["pss"] - children_before.peak["pss"], 2),
        "idle_processes": children.processes,
        "agent_growth_mib": round(after.peak["pss"] - before.peak["pss"], 2),
        "agent_mib": round(before.peak["pss"], 1),
        "learner_of_the_agent_mib": round(learning.peak["pss"], 1),
    }


def difference(ones: Weights, others: Weights) -> float:
    return float(max(np.abs(np.float64(ones[name]) - others[name]).max() for name in ones))


def compare(repeats: int, rounds: int) -> dict[str, Any]:
    """Both sides, alternately; what they published must agree."""
    sides: dict[str, list[tuple[float, Memory]]] = {"ours": [], "stock": []}
    apart = 0.0
    for _ in range(repeats):
        published = []
        for name, run in (("ours", ours), ("stock", stock)):
            with tempfile.TemporaryDirectory() as folder:
                seconds, memory, weights = run(Path(folder), rounds)
            sides[name].append((seconds, memory))
            published.append(weights)
        apart = max(apart, difference(*published))
    with tempfile.TemporaryDirectory() as folder:
        left = idle(Path(folder))
    median = {name: statistics.median(seconds for seconds, _ in runs) for name, runs in sides.items()}
    peak = {
        name: {kind: statistics.median(memory.peak[kind] for _, memory in runs) for kind in KINDS}
        for name, runs in sides.items()
    }
    return {
        "ratio_wall": round(median["ours"] / median["stock"], 3),
        "ratio_rss": round(peak["ours"]["pss"] / peak["stock"]["pss"], 3),
        **left,
        "ratio_rss_summed": round(peak["ours"]["rss"] / peak["stock"]["rss"], 3),
        "ratio_uss": round(peak["ours"]["uss"] / peak["stock"]["uss"], 3),
        "largest_difference": apart,
        "sides": {name: _told(runs, rounds) for name, runs in sides.items()},
        "devices": DEVICES,
        "rounds": rounds,
        "examples": EXAMPLES,
        "repeats": repeats,
        "load": [round(one, 2) for one in os.getloadavg()],
        "versions": {name: version(name) for name in ("edgeward", "flwr", "onnxruntime", "numpy")},
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
    }


def _told(runs: list[tuple[float, Memory]], rounds: int) -> dict[str, Any]:
    seconds = [one for one, _ in runs]
    return {
        "seconds": [round(one, 2) for one in seconds],
        "seconds_a_round": round(statistics.median(seconds) / rounds, 2),
        "peak_mib": {kind: [round(memory.peak[kind], 1) for _, memory in runs] for kind in KINDS},
        "processes": max(memory.processes for _, memory in runs),
    }


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    found = compare(given.repeats, given.rounds)
    if not given.json:
        for name, side in found["sides"].items():
            print(f"{name:<6} {side['seconds_a_round']:>6.2f} s a round, peak {side['peak_mib']['pss']} MiB PSS")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
