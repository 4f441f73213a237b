"""`python -m tests.benchmarks.echo --json`: the agent beside floor F1, measured alternately in one run.

Closed loop: one message at a time, latency from publish to answer. Open loop: at most 128 unanswered, answers a
second. Both systems are real processes on the same broker with the same model; blocks alternate floor, agent, floor …
"""

import argparse
import json
import os
import platform
import statistics
import sys
from importlib.metadata import version

from firmware_configs.messages import Topics
from tests.benchmarks import floor, load

WINDOW = 128


def measure(kind: str, blocks: int, count: int, seconds: float) -> dict[str, object]:
    """All figures of one run."""
    with load.workplace() as folder, load.broker(kind, folder) as port:
        settings = load.write_agent(folder / "agent", port)
        bare = (sys.executable, "-m", "tests.benchmarks.floor", "--port", str(port), "--bundle", str(load.BUNDLE))
        with load.process(*bare), load.process(*load.agent_command(settings), log=folder / "agent.log"):
            sides = {"floor": (floor.IN, floor.OUT), "agent": (f"bench/{load.DEVICE}/in", decisions())}
            drivers = {}
            for side, (to, back) in sides.items():
                drivers[side] = load.Driver(port, f"driver-{side}")
                drivers[side].listen(back)
                drivers[side].warm(to)
            latency: dict[str, list[list[float]]] = {side: [] for side in sides}
            rate: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(blocks):
                for side, (to, _back) in sides.items():
                    latency[side].append(drivers[side].closed_loop(to, count))
            for _ in range(blocks):
                for side, (to, _back) in sides.items():
                    rate[side].append(drivers[side].open_loop(to, seconds, WINDOW))
            for driver in drivers.values():
                driver.close()
    return _figures(kind, latency, rate, count)


def decisions() -> str:
    """The topic on which the agent answers."""
    return Topics(load.DEVICE).of("decision", "presence")


def _figures(
    kind: str, latency: dict[str, list[list[float]]], rate: dict[str, list[float]], count: int
) -> dict[str, object]:
    p50 = {side: [statistics.median(block) for block in blocks] for side, blocks in latency.items()}
    p99 = {side: [p99_of(block) for block in blocks] for side, blocks in latency.items()}
    return {
        "ratio_p50": ratio(p50["agent"], p50["floor"]),
        "ratio_p99": ratio(p99["agent"], p99["floor"]),
        "ratio_throughput": ratio(rate["agent"], rate["floor"]),
        "p50_ms": {side: spread(values) for side, values in p50.items()},
        "p99_ms": {side: spread(values) for side, values in p99.items()},
        "throughput_per_s": {side: spread(values) for side, values in rate.items()},
        "samples": {"blocks": len(p50["agent"]), "closed_loop_per_block": count, "open_loop_window": WINDOW},
        "broker": kind,
        "model": load.BUNDLE.name,
        "versions": {name: version(name) for name in ("edgeward", "paho-mqtt", "onnxruntime", "msgspec", "iotcore")},
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
    }


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of neighbouring blocks, so that a drifting machine does not decide."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def p99_of(values: list[float]) -> float:
    """The value that 99 of 100 do not exceed."""
    return sorted(values)[int(0.99 * (len(values) - 1))]


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    low, high = min(values), max(values)
    return {"median": round(statistics.median(values), 4), "min": round(low, 4), "max": round(high, 4)}


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--broker", choices=["iotcore", "mosquitto"], default="iotcore")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--count", type=int, default=400, help="messages in a closed-loop block")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of an open-loop block")
    given = parser.parse_args()
    found = measure(given.broker, given.blocks, given.count, given.seconds)
    if not given.json:
        for name in ("ratio_p50", "ratio_p99", "ratio_throughput"):
            print(f"{name:<18} {found[name]}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
