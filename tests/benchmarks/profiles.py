"""`python -m tests.benchmarks.profiles --json`: what an event costs, and the memory, with 10 to 100,000 profiles.

Real step, real store on disk, real model; only the broker is left out. Each size runs in a process of its own, so that
its resident memory is its own, and after the same number of events, so that only the profiles differ and not the age
of the database. `uniform` draws subjects at random: the worst case for a cache. `zipf` draws them as people come: few
often, most seldom. The cost is processor time of the process, the system's part of it included: that is what the work
costs whoever else uses the machine; elapsed time stands beside it. The sizes take turns block by block, and ratios are
of neighbouring blocks, so that a drifting machine does not decide.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from edge_agent.agent import Agent, step
from edge_agent.doors import Doors
from edge_agent.happenings import BundleReady, Message
from edge_agent.infer.bundle import load_model
from edge_agent.shell.clock import Watch, local_hours, wall_ms
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs.loader import parse
from models import spec as s
from tests.benchmarks import load

SIZES = (10, 1_000, 10_000, 100_000)
BATCH = 64
"""Events in one transaction: what a busy gateway's loop takes at once."""
DISTRIBUTIONS = ("uniform", "zipf")
PROFILE = load.PROFILE.replace('event_id = "id"\n', 'event_id = "id"\nsubject = "who"\n')
MIB = 1_048_576


def rich() -> s.Input:
    """Features besides the model's own four: windows, decay and recency, as a recommender would declare them."""
    hour, day = 3_600.0, 86_400.0
    features: tuple[s.FeatureSpec, ...] = (
        s.Mean(field="co2", window_s=hour),
        s.Mean(field="light", window_s=day),
        s.Count(source="room", window_s=hour),
        s.Count(source="room", window_s=7 * day),
        s.Ewma(field="temperature", half_life_s=hour),
        s.TimeSince(source="room", cap_s=day),
    )
    return s.Input(name="x", dtype="float32", shape=(-1, len(features)), from_="features", features=features)


class Bench:
    """One agent with its store, and a stream of events."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.loaded = parse(PROFILE)
        self.store = Store(folder / "edgeward.db", self.loaded.profile.device.disk_mib_max)
        model = load_model(load.BUNDLE)
        windows: Any = SimpleNamespace(spec=SimpleNamespace(inputs=(rich(),)), index={})
        doors = Doors(
            secret=self.store.secret,
            recall=self.store.recall,
            holds=self.store.holds,
            models={model.name: model, "windows": windows},
            over_budget=Watch().over_budget,
            local_hour=local_hours("UTC"),
        )
        self.agent = Agent(self.loaded, load.DEVICE, doors)
        self._sent: list[int] = []
        self.agent.control.report = lambda _batch: None  # type: ignore[method-assign, assignment]
        self.agent.models_changed()
        self._take([BundleReady(name=model.name, version=model.version)])
        self._random = np.random.default_rng(seed)
        self._number = 0

    def _take(self, happenings: list[Any]) -> None:
        """One turn of the loop: step, commit; what was sent is acknowledged by the next one, as by a good broker."""
        writes = Writes(delivered=self._sent)
        writes.add(step(self.agent, happenings, wall_ms()))
        self._sent = list(writes.outbox)
        if not self.store.commit(writes, durable=False):
            raise RuntimeError(self.store.degraded)

    def live(self, count: int, events: int) -> None:
        """Events enough for a database of some age, each subject's in turn."""
        for first in range(0, events, BATCH):
            self.events([f"u{n % count}" for n in range(first, first + BATCH)])

    def events(self, subjects: list[str]) -> None:
        """One event of each, in one transaction."""
        now = wall_ms()
        messages = []
        for subject in subjects:
            self._number += 1
            event = {"id": self._number, "who": subject, **load.READING, "light": 400.0 + self._number % 50}
            payload = msgspec.json.encode(event)
            messages.append(Message(topic=f"bench/{load.DEVICE}/in", payload=payload, arrived_ms=now))
        self._take(messages)

    def batches(self, distribution: str, profiles: int) -> Iterator[list[str]]:
        """Subjects without end."""
        while True:
            if distribution == "uniform":
                drawn = self._random.integers(0, profiles, BATCH)
            else:
                drawn = (self._random.zipf(1.2, BATCH) - 1) % profiles
            yield [f"u{n}" for n in drawn]


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def serve(profiles: int, seed: int) -> None:
    """One size in this process: makes ready, then runs a block for each line of standard input that names one."""
    with load.workplace() as folder:
        bench = Bench(folder, seed)
        bench.live(profiles, SIZES[-1])
        sources = {distribution: bench.batches(distribution, profiles) for distribution in DISTRIBUTIONS}
        row = bench.store.recall("profile", "u0")
        print(json.dumps({"packed_bytes": len(row) if row else 0}), flush=True)
        for line in sys.stdin:
            distribution, events = line.split()
            used, elapsed = _cost(bench.events, sources[distribution], int(events))
            hot, rss = len(bench.agent.profiles), round(rss_bytes() / MIB, 1)
            print(json.dumps({"cost_us": used, "elapsed_us": elapsed, "hot": hot, "rss_mib": rss}), flush=True)
        bench.store.close()


def _cost(take: Callable[[list[str]], None], source: Iterator[list[str]], events: int) -> tuple[float, float]:
    """µs an event: of the processor, and elapsed."""
    drawn = [next(source) for _ in range(events // BATCH)]
    started, used = time.perf_counter(), time.process_time()
    for subjects in drawn:
        take(subjects)
    used, elapsed = time.process_time() - used, time.perf_counter() - started
    return round(used / (len(drawn) * BATCH) * 1e6, 1), round(elapsed / (len(drawn) * BATCH) * 1e6, 1)


class Child:
    """A process that serves one size."""

    def __init__(self, profiles: int, seed: int) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.profiles", "--serve", str(profiles), "--seed", str(seed)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.runs: dict[str, list[dict[str, float]]] = {distribution: [] for distribution in DISTRIBUTIONS}

    def hear(self) -> dict[str, float]:
        """Its next line."""
        assert self._process.stdout is not None
        found: dict[str, float] = json.loads(self._process.stdout.readline())
        return found

    def run(self, distribution: str, events: int) -> None:
        """One block."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{distribution} {events}\n")
        self._process.stdin.flush()
        self.runs[distribution].append(self.hear())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def figures(self, packed_bytes: float) -> dict[str, Any]:
        """Medians over the blocks."""
        newest = self.runs[DISTRIBUTIONS[0]][-1]
        return {
            **{
                name: {d: round(statistics.median(run[name] for run in runs), 1) for d, runs in self.runs.items()}
                for name in ("cost_us", "elapsed_us")
            },
            "rss_mib": max(run["rss_mib"] for runs in self.runs.values() for run in runs),
            "hot": newest["hot"],
            "packed_bytes": packed_bytes,
        }


def measure(blocks: int, events: int) -> dict[str, Any]:
    """All sizes, in blocks that take turns."""
    children = {size: Child(size, size) for size in SIZES}
    packed = {size: child.hear()["packed_bytes"] for size, child in children.items()}
    for number in range(blocks + 1):
        for distribution in DISTRIBUTIONS:
            for child in children.values():
                child.run(distribution, events)
                if number == 0:
                    child.runs[distribution].clear()  # it only warmed up
    for child in children.values():
        child.close()
    least, most = (children[size].runs for size in (SIZES[0], SIZES[-1]))
    ratio = {
        d: round(statistics.median(b["cost_us"] / a["cost_us"] for a, b in zip(least[d], most[d], strict=True)), 3)
        for d in DISTRIBUTIONS
    }
    return {
        "ratio_cost": ratio["uniform"],
        "ratio_cost_zipf": ratio["zipf"],
        "sizes": {str(size): child.figures(packed[size]) for size, child in children.items()},
        "samples": {"blocks": blocks, "events_per_block": events, "events_per_transaction": BATCH},
        "memory_mib_max": parse(PROFILE).profile.device.memory_mib_max,
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
    }


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--events", type=int, default=2_560, help="timed events of each block")
    parser.add_argument("--serve", type=int, default=0, help="serve this many profiles, in this process")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.seed)
        return
    found = measure(given.blocks, given.events)
    if not given.json:
        for size, figures in found["sizes"].items():
            print(f"{int(size):>8,} profiles  {figures}")
        print(f"ratio_cost {found['ratio_cost']}  ratio_cost_zipf {found['ratio_cost_zipf']}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
