"""`python -m tests.benchmarks.soak --minutes 30`: a real agent at half of its capacity, watched for what grows.

First the bounded memories are filled (event ids, subjects) at full speed, which also measures the capacity. (The table
of 100,000 event ids takes 5 MB more, once, when 175,000 have passed through it: that is how a dict forgets.)

Then events come at half of that, evenly; every ten seconds the agent's memory, its files and the latencies are noted.
Growth is the median of the last minute over the median of the minute after the third. The last thing printed is one
JSON object.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections import deque
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct
from paho.mqtt.client import Client, MQTTMessage

from edge_agent.limits import DEDUPE_MAX
from edge_agent.shell.status import status
from tests.benchmarks import load
from tests.benchmarks.echo import WINDOW, decisions, p99_of
from tests.benchmarks.footprint import PROFILE as FOOTPRINT_PROFILE
from tests.benchmarks.footprint import TOPIC

DISK_MIB = 128
PROFILE = FOOTPRINT_PROFILE.replace("disk_mib_max = 4096", f"disk_mib_max = {DISK_MIB}")
SUBJECTS = 10_000
SAMPLE_S = 10.0
SETTLED_S = 180.0
"""From here on nothing may grow."""
UNANSWERED_MAX = 2_000
"""More is not sent: a machine that is busy with other things is not to be flooded."""


class Sample(Struct, frozen=True, kw_only=True):
    """What was seen in ten seconds."""

    at_s: float
    rss_mib: float
    files_mib: float
    answered: int
    p50_ms: float
    p99_ms: float
    cpu_share: float


class Paced(load.Driver):
    """A driver that remembers when it sent what: answers on one topic come in the order of the events."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port, name)
        self.sent: deque[float] = deque()
        self.took_ms: list[float] = []

    def send(self, topic: str, **more: str) -> None:
        """Publish one more reading, and look at the clock."""
        self.sent.append(time.perf_counter())
        super().send(topic, **more)

    def _on_message(self, client: Client, data: object, message: MQTTMessage) -> None:
        super()._on_message(client, data, message)
        if self.sent:
            self.took_ms.append((time.perf_counter() - self.sent.popleft()) * 1_000)


def measure(minutes: float, rate: float, fill: int, broker: str) -> dict[str, object]:
    """Fill, measure the capacity, and watch for `minutes`."""
    with load.workplace() as folder, load.broker(broker, folder) as port:
        settings = load.write_agent(folder / "agent", port, PROFILE)
        state = folder / "agent" / "state"
        with load.process(*load.agent_command(settings), log=folder / "log") as agent:
            driver = Paced(port, "driver")
            driver.listen(decisions())
            driver.warm(TOPIC, who="0")
            started, before = time.perf_counter(), driver.answers
            driver.flood(TOPIC, WINDOW, ({"who": str(number % SUBJECTS)} for number in range(fill)))
            capacity = (driver.answers - before) / (time.perf_counter() - started)
            print(f"capacity {capacity:.0f} events/s ({fill} events)", file=sys.stderr)
            samples = _watch(driver, agent.pid, state, minutes * 60, rate or capacity / 2)
            driver.close()
        log = (folder / "log").read_text()
        found = status(state)
    return _figures(samples, capacity, rate or capacity / 2, found["counters"], log)


def _watch(driver: Paced, pid: int, state: Path, seconds: float, rate: float) -> list[Sample]:
    samples: list[Sample] = []
    driver.took_ms.clear()
    begun = due = time.perf_counter()
    next_s, cpu, number = SAMPLE_S, load.cpu_s(pid), 0
    while (now := time.perf_counter()) - begun < seconds:
        while due <= now and len(driver.sent) < UNANSWERED_MAX:
            driver.send(TOPIC, who=str(number * 7_919 % SUBJECTS))
            number += 1
            due += 1 / rate
        if len(driver.sent) >= UNANSWERED_MAX:
            due = now
        driver.tend(max(0.0, (due - time.perf_counter()) * 1_000))
        if now - begun >= next_s:
            spent = load.cpu_s(pid) - cpu
            cpu += spent
            samples.append(_sample(driver, pid, state, now - begun, spent / SAMPLE_S))
            next_s += SAMPLE_S
            print(msgspec.json.encode(samples[-1]).decode(), file=sys.stderr, flush=True)
    return samples


def _sample(driver: Paced, pid: int, state: Path, at_s: float, share: float) -> Sample:
    took = driver.took_ms or [0.0]
    driver.took_ms = []
    return Sample(
        at_s=round(at_s, 1),
        rss_mib=load.rss_mib(pid),
        files_mib=round(sum(file.stat().st_size for file in state.glob("edgeward.db*")) / 2**20, 2),
        answered=len(took),
        p50_ms=round(statistics.median(took), 3),
        p99_ms=round(p99_of(took), 3),
        cpu_share=round(share, 3),
    )


def _figures(
    samples: list[Sample], capacity: float, rate: float, counters: dict[str, int], log: str
) -> dict[str, object]:
    settled = [one for one in samples if one.at_s >= SETTLED_S] or samples
    first, last = settled[:6], settled[-6:]
    memory = [statistics.median(one.rss_mib for one in part) for part in (first, last)]
    files = [statistics.median(one.files_mib for one in part) for part in (first, last)]
    hours = max(1e-9, (last[-1].at_s - first[0].at_s) / 3_600)
    return {
        "rss_growth": round(memory[1] / memory[0] - 1, 4),
        "rss_mib": {"after_3_min": memory[0], "end": memory[1], "max": max(one.rss_mib for one in samples)},
        "files_mib": {"after_3_min": files[0], "end": files[1], "limit": DISK_MIB},
        "files_mib_per_hour": round((files[1] - files[0]) / hours, 2),
        "p50_ms": round(statistics.median(one.p50_ms for one in settled), 3),
        "p99_ms": {
            "median": round(statistics.median(one.p99_ms for one in settled), 3),
            "max": max(one.p99_ms for one in settled),
        },
        "cpu_share": round(statistics.mean(one.cpu_share for one in settled), 3),
        "minutes": round(samples[-1].at_s / 60, 1),
        "events_per_s": {"capacity": round(capacity, 1), "rate": round(rate, 1)},
        "answered": sum(one.answered for one in samples),
        "counters": counters,
        "log_lines": len(log.splitlines()),
        "warnings": sum(" warning " in line or " error " in line for line in log.splitlines()),
        "versions": {name: version(name) for name in ("edgeward", "paho-mqtt", "onnxruntime", "msgspec")},
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
    }


def main() -> None:
    """Soak and print; exit code 1 when memory grew by 2 % or more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="at least 5, for growth to mean something")
    parser.add_argument("--rate", type=float, default=0.0, help="events a second; 0: half of the measured capacity")
    parser.add_argument(
        "--fill", type=int, default=int(1.85 * DEDUPE_MAX), help="events that fill the bounded memories"
    )
    parser.add_argument("--broker", choices=["iotcore", "mosquitto"], default="mosquitto")
    given = parser.parse_args()
    found = measure(given.minutes, given.rate, given.fill, given.broker)
    print(json.dumps(found))
    sys.exit(0 if found["rss_growth"] < 0.02 else 1)  # type: ignore[operator]


if __name__ == "__main__":
    main()
