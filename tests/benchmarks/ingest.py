"""`python -m tests.benchmarks.ingest --json`: durable ingest beside floor F2, measured alternately in one run.

The subscriber is stopped (SIGSTOP), the broker's queue for it is filled, then it goes on: the publisher's own work is
not in the measurement, on two cores it would be most of it. The last message asks for an answer, which can only come
after everything before it was taken; events a second are the queue's length over the time to that answer. The agent
decodes, minimises, dedupes, updates the profile and commits; its one placement is triggered by the last message only.
"""

import argparse
import json
import os
import platform
import signal
import sys
import time
from importlib.metadata import version

from edge_agent.shell.status import status
from firmware_configs.messages import Topics
from tests.benchmarks import ingest_floor, load
from tests.benchmarks.echo import ratio, spread

PROFILE = load.PROFILE.replace('trigger = { kind = "event", source = "room" }', 'trigger = { kind = "request" }')
MOSQUITTO = "max_inflight_messages 0\nset_tcp_nodelay true\n"
"""Without a limit of its own, so that each client's Receive Maximum counts."""
ANSWERS = "bench/agent/answer"
WARM = 500
Side = tuple[str, str, int]
"""(topic of events, topic of the last message, process id)."""


def measure(blocks: int, count: int, *, critical: bool) -> dict[str, object]:
    """All figures of one run."""
    profile = PROFILE.replace('event_id = "id"', 'event_id = "id"\ncritical = true') if critical else PROFILE
    rate: dict[str, list[float]] = {"floor": [], "agent": []}
    cpu: dict[str, list[float]] = {"floor": [], "agent": []}
    with load.workplace() as folder, load.broker("mosquitto", folder, MOSQUITTO) as port:
        settings = load.write_agent(folder / "agent", port, profile)
        bare = (sys.executable, "-m", "tests.benchmarks.ingest_floor", "--port", str(port))
        with load.process(*bare) as floor, load.process(*load.agent_command(settings), log=folder / "log") as agent:
            asked = Topics(load.DEVICE).of("request", "presence")
            sides: dict[str, Side] = {
                "floor": (ingest_floor.IN, ingest_floor.LAST, floor.pid),
                "agent": (f"bench/{load.DEVICE}/in", asked, agent.pid),
            }
            driver = load.Driver(port, "driver")
            driver.listen(ingest_floor.OUT)
            driver.listen(ANSWERS)
            for _events, last, _pid in sides.values():
                driver.ask_until_answered(last, ANSWERS)
            for side in sides.values():
                drain(driver, side, WARM)
            for _ in range(blocks):
                for name, side in sides.items():
                    seconds, spent = drain(driver, side, count)
                    rate[name].append(count / seconds)
                    cpu[name].append(spent / count * 1e6)
            driver.close()
        taken = status(folder / "agent" / "state")["counters"].get("events", 0)
        assert taken == blocks * count + WARM, f"{taken} of {blocks * count + WARM} events were taken"
    return {
        "ratio_throughput": ratio(rate["agent"], rate["floor"]),
        "ratio_cpu": ratio(cpu["agent"], cpu["floor"]),
        "events_per_s": {side: spread(values) for side, values in rate.items()},
        "cpu_us_per_event": {side: spread(values) for side, values in cpu.items()},
        "samples": {"blocks": blocks, "events_a_block": count},
        "durability": "FULL (critical source)" if critical else "NORMAL",
        "broker": "mosquitto",
        "versions": {name: version(name) for name in ("edgeward", "paho-mqtt", "msgspec")},
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
    }


def drain(driver: load.Driver, side: Side, count: int) -> tuple[float, float]:
    """Wall and CPU seconds of the subscriber for a queue of `count` events and the answer to the last message."""
    events, last, pid = side
    os.kill(pid, signal.SIGSTOP)
    try:
        driver.fill(events, count)
        driver.ask(last, ANSWERS)
        driver.settle(0.3)
        seen, before = driver.answers, load.cpu_s(pid)
        started = time.perf_counter()
    finally:
        os.kill(pid, signal.SIGCONT)
    while driver.answers == seen:
        driver.tend(100)
        assert time.perf_counter() - started < load.READY_S * 4, f"no answer on {last}"
    return time.perf_counter() - started, load.cpu_s(pid) - before


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--count", type=int, default=10_000, help="events in a block")
    parser.add_argument("--critical", action="store_true", help="wait for the medium before each acknowledgement")
    given = parser.parse_args()
    found = measure(given.blocks, given.count, critical=given.critical)
    if not given.json:
        for name in ("ratio_throughput", "ratio_cpu"):
            print(f"{name:<18} {found[name]}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
