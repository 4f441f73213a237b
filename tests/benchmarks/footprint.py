"""`python -m tests.benchmarks.footprint --json`: memory and start of the agent beside floor F3, in one run.

Memory: resident set (VmRSS) of an agent with one model that holds 10,000 subjects' profiles, over that of a bare
process with the same libraries imported (and, as a second figure, over one that has opened the model, too).
Start: from the process's birth to the first decision at the subscriber, the event waiting at the broker, over the bare
process's imports and its session; as wall clock, and as the process's own CPU, which a busy machine disturbs less.
Growth: CPU an event at each number of profiles.

Our packages are compiled to byte code first, as pip does at an installation and has done for the floor's libraries: an
environment that forbids writing byte code would else let the agent, and only it, compile itself at each start.
"""

import argparse
import compileall
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from models.bundle import open_bundle
from tests.benchmarks import load
from tests.benchmarks.echo import decisions, ratio, spread

TOPIC = f"bench/{load.DEVICE}/in"
PROFILE = load.PROFILE.replace('event_id = "id"', 'event_id = "id"\nsubject = "who"', 1)
PROFILES = 10_000
REPOSITORY = Path(__file__).parents[2]
INSTALLED = ("edge_agent", "firmware_configs", "models", "tests/benchmarks")
WINDOW = 128
EVENTS = 5_000
"""Events whose CPU is measured at each number of profiles."""


def measure(kind: str, runs: int, sizes: list[int]) -> dict[str, object]:
    """All figures of one run."""
    for package in INSTALLED:
        assert compileall.compile_dir(REPOSITORY / package, quiet=1), f"{package} does not compile"
    with load.workplace() as folder, load.broker(kind, folder) as port:
        graph = folder / "predict.onnx"
        graph.write_bytes(open_bundle(load.BUNDLE).read("predict.onnx"))
        driver = load.Driver(port, "driver")
        driver.listen(decisions())
        start: dict[str, list[float]] = {"floor": [], "agent": []}
        cpu: dict[str, list[float]] = {"floor": [], "agent": []}
        opened: list[float] = []
        settings = load.write_agent(folder / "agent", port, PROFILE)
        with load.process(*load.agent_command(settings), log=folder / "agent.log"):
            driver.warm(TOPIC, who="nobody")
        for _ in range(runs):
            with _bare(str(graph)) as (pid, seconds):
                start["floor"].append(seconds)
                opened.append(load.rss_mib(pid))
                cpu["floor"].append(load.cpu_s(pid))
            seconds, spent = _first_decision(driver, settings, folder / "agent.log")
            start["agent"].append(seconds)
            cpu["agent"].append(spent)
        floor = []
        for _ in range(runs):
            with _bare() as (pid, _seconds):
                floor.append(load.rss_mib(pid))
        grown = _grow(driver, load.write_agent(folder / "grown", port, PROFILE), sizes, folder / "grown.log")
        driver.close()
    memory = {size: found["rss_mib"] for size, found in grown.items()}
    cost = {size: found["cpu_us_per_event"] for size, found in grown.items()}
    return {
        "ratio_rss": round(memory[PROFILES] / statistics.median(floor), 3),
        "ratio_rss_with_session": round(memory[PROFILES] / statistics.median(opened), 3),
        "ratio_cold_start": ratio(start["agent"], start["floor"]),
        "ratio_cold_start_cpu": ratio(cpu["agent"], cpu["floor"]),
        "ratio_cost_growth": round(cost[max(sizes)] / cost[min(sizes)], 3),
        "rss_mib": {"floor": spread(floor), "floor_with_session": spread(opened), "agent": memory},
        "cold_start_cpu_s": {side: spread(values) for side, values in cpu.items()},
        "cold_start_s": {side: spread(values) for side, values in start.items()},
        "cpu_us_per_event": cost,
        "samples": {"starts": runs, "profiles": PROFILES, "events_a_size": EVENTS},
        "broker": kind,
        "model": load.BUNDLE.name,
        "versions": {name: version(name) for name in ("edgeward", "numpy", "onnxruntime", "paho-mqtt", "msgspec")},
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
    }


@contextmanager
def _bare(*words: str) -> Iterator[tuple[int, float]]:
    """A bare process that is ready: its id, and the seconds that it took."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks.bare", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        yield running.pid, time.perf_counter() - started


def _first_decision(driver: load.Driver, settings: Path, log: Path) -> tuple[float, float]:
    """Wall and CPU seconds from the agent's birth to its first decision; the event waits at the broker."""
    driver.send(TOPIC, who="nobody")
    driver.settle(0.1)
    seen, started = driver.answers, time.perf_counter()
    with load.process(*load.agent_command(settings), log=log) as running:
        while driver.answers == seen:
            driver.tend(50)
            assert time.perf_counter() - started < load.READY_S, log.read_text()
        return time.perf_counter() - started, load.cpu_s(running.pid)


def _grow(driver: load.Driver, settings: Path, sizes: list[int], log: Path) -> dict[int, dict[str, float]]:
    """Memory, and CPU an event, of one agent at each number of profiles."""
    found: dict[int, dict[str, float]] = {}
    with load.process(*load.agent_command(settings), log=log) as running:
        driver.warm(TOPIC, who="0")
        have = 1
        for size in sizes:
            driver.flood(TOPIC, WINDOW, ({"who": str(number)} for number in range(have, size)))
            have = size
            driver.settle(1.0)
            memory, before = load.rss_mib(running.pid), load.cpu_s(running.pid)
            # A step that shares no factor with the sizes visits the subjects evenly and out of order.
            driver.flood(TOPIC, WINDOW, ({"who": str(number * 7_919 % size)} for number in range(EVENTS)))
            spent = load.cpu_s(running.pid) - before
            found[size] = {"rss_mib": memory, "cpu_us_per_event": round(spent / EVENTS * 1e6, 1)}
    return found


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--broker", choices=["iotcore", "mosquitto"], default="iotcore")
    parser.add_argument("--runs", type=int, default=9, help="starts of each side")
    parser.add_argument("--profiles-max", type=int, default=100_000, help="where growth ends; at least 10,000")
    given = parser.parse_args()
    sizes = sorted({10, 1_000, PROFILES, max(PROFILES, given.profiles_max)})
    found = measure(given.broker, given.runs, sizes)
    if not given.json:
        for name in ("ratio_rss", "ratio_cold_start", "ratio_cost_growth"):
            print(f"{name:<18} {found[name]}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
