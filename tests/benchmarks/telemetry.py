"""`python -m tests.benchmarks.telemetry --json`: what the agent's telemetry costs, with and without it in one run.

Three agents on one broker: `off` measures nothing (`telemetry.timings = false`), `on` times its stages, traces one
message in a hundred and is asked for its measures and facts every second, `traced` is the same and traces every one.
Each block fills one agent's queue while it is stopped and takes the time that it needs for it, as `ingest` does; every
event makes a durable decision that is published. The blocks take the sides in every order in turn, and `cost_share` is
one minus the median of the blocks' ratios of throughput, on over off; `cost_interval` is where that median lies with
95 % (percentile bootstrap over blocks). A machine's own changes of pace are slower than a block and far larger than the
cost, so the blocks are many and short. CPU time is told beside it, and `step_us`: CPU that `agent.step` takes for an
event in one process, without broker and disk, in short blocks side by side.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from edge_agent.agent import Agent, step
from edge_agent.doors import Doors
from edge_agent.effects import Send
from edge_agent.happenings import Message
from edge_agent.infer.bundle import load_model
from edge_agent.shell import facts, vitals
from edge_agent.shell.status import status
from edge_agent.timings import Timings, Untimed
from firmware_configs.loader import parse
from firmware_configs.messages import JSON, Topics
from tests.benchmarks import load
from tests.benchmarks.echo import spread
from tests.benchmarks.ingest import ANSWERS, MOSQUITTO, Side, drain

SIDES = {"off": "timings = false", "on": "trace_share = 0.01", "traced": "trace_share = 1.0"}
ASK_S = 1.0
WARM = 500
NOW_MS = 1_800_000_000_000
PROFILE = f"""{load.PROFILE}
[[objective]]
name = "quick"
indicator = "latency"
placement = "presence"
[[objective]]
name = "by-model"
indicator = "fallback"
placement = "presence"
"""


def measure(blocks: int, count: int) -> dict[str, object]:
    """All figures of one run."""
    rate: dict[str, list[float]] = {name: [] for name in SIDES}
    cpu: dict[str, list[float]] = {name: [] for name in SIDES}
    with load.workplace() as folder, load.broker("mosquitto", folder, MOSQUITTO) as port, ExitStack() as stack:
        sides: dict[str, Side] = {}
        for name, setting in SIDES.items():
            settings = load.write_agent(folder / name, port, PROFILE, device=name)
            settings.write_text(f"{settings.read_text()}telemetry = {{ {setting} }}\n")
            agent = stack.enter_context(load.process(*load.agent_command(settings), log=folder / f"{name}.log"))
            sides[name] = (f"bench/{name}/in", Topics(name).of("request", "presence"), agent.pid)
        driver = load.Driver(port, "driver")
        driver.listen(ANSWERS)
        for _events, last, _pid in sides.values():
            driver.ask_until_answered(last, ANSWERS)
        for side in sides.values():
            drain(driver, side, WARM)
        askers = {name: Asker(folder / name / "state") for name in sides}
        orders = list(itertools.permutations(sides))
        for block in range(blocks):
            for name in orders[block % len(orders)]:
                asking = askers[name].begin() if name != "off" else None
                seconds, spent = drain(driver, sides[name], count)
                askers[name].end(asking, seconds)
                rate[name].append(count / seconds)
                cpu[name].append(spent / count * 1e6)
        driver.close()
        for name in sides:
            taken = status(folder / name / "state")["counters"].get("decisions", 0)
            assert taken >= blocks * count, f"{name} made {taken} of {blocks * count} decisions"
    steps = stepped()
    return {
        "step_us": {name: spread(values) for name, values in steps.items()},
        "step_share": -_cost(steps["off"], steps["on"]),
        "step_share_traced": -_cost(steps["off"], steps["traced"]),
        "cost_share": _cost(rate["off"], rate["on"]),
        "cost_interval": interval(rate["off"], rate["on"]),
        "cost_share_traced": _cost(rate["off"], rate["traced"]),
        "cpu_share": round(statistics.median(a / b for a, b in zip(cpu["on"], cpu["off"], strict=True)) - 1, 4),
        "cpu_interval": [-bound for bound in reversed(interval(cpu["off"], cpu["on"]))],
        "cpu_share_traced": round(
            statistics.median(a / b for a, b in zip(cpu["traced"], cpu["off"], strict=True)) - 1, 4
        ),
        "decisions_per_s": {name: spread(values) for name, values in rate.items()},
        "cpu_us_per_decision": {name: spread(values) for name, values in cpu.items()},
        "samples": {"blocks": blocks, "events_a_block": count},
        "asked_every_s": ASK_S,
        "broker": "mosquitto",
        "versions": {name: version(name) for name in ("edgeward", "paho-mqtt", "msgspec")},
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
    }


def stepped(blocks: int = 600, count: int = 25) -> dict[str, list[float]]:
    """CPU that a step with one event and its decision takes, µs, by side and block."""
    loaded, model = parse(PROFILE.replace("{device}", "bench")), load_model(load.BUNDLE)
    agents: dict[str, Agent] = {}
    for name, timings in (("off", Untimed()), ("on", _timings(0.01)), ("traced", _timings(1.0))):
        doors = Doors(
            secret=b"s" * 32,
            recall=lambda _where, _key: None,
            models={model.name: model},
            over_budget=lambda _id, _ms: False,
            local_hour=lambda _ms: (12, 1),
            timings=timings,
        )
        agents[name] = Agent(loaded, "bench", doors)
    took: dict[str, list[float]] = {name: [] for name in agents}
    number = 0
    orders = list(itertools.permutations(agents))  # each side comes as often after each other: caches are warm or cold
    for block in range(blocks):
        for name in orders[block % len(orders)]:
            began = time.process_time_ns()
            for _ in range(count):
                number += 1
                event = msgspec.json.encode({"id": str(number), **load.READING, "light": 400.0 + number % 50})
                message = Message(topic="bench/bench/in", payload=event, arrived_ms=NOW_MS + number, content_type=JSON)
                made = step(agents[name], [message], NOW_MS + number)
                assert any(isinstance(effect, Send) for effect in made)
            took[name].append((time.process_time_ns() - began) / count / 1e3)
    return took


def _timings(share: float) -> Timings:
    return Timings(time.perf_counter_ns, time.time_ns, share)


def _cost(off: list[float], on: list[float]) -> float:
    return round(1 - statistics.median(b / a for a, b in zip(off, on, strict=True)), 4)


def interval(off: list[float], on: list[float], draws: int = 4_000) -> list[float]:
    """Where the median cost of a block lies, with 95 %: percentile bootstrap (Efron 1979) over the pairs of blocks."""
    ratios = np.asarray(on) / np.asarray(off)
    drawn = np.random.default_rng(0).choice(ratios, (draws, len(ratios)))
    low, high = np.quantile(1 - np.median(drawn, axis=1), (0.025, 0.975))
    return [round(float(low), 4), round(float(high), 4)]


class Asker:
    """Asks an agent for measures and facts, as Prometheus and an exporter would, once in each second that it works."""

    def __init__(self, state: Path) -> None:
        self._state, self._worked_s = state, 0.0

    def begin(self) -> threading.Thread | None:
        """A block begins; it asks during it when that is due."""
        if self._worked_s < ASK_S:
            return None
        self._worked_s -= ASK_S
        thread = threading.Thread(target=self._ask)
        thread.start()
        return thread

    def end(self, thread: threading.Thread | None, seconds: float) -> None:
        """A block ends after so many seconds."""
        self._worked_s += seconds
        if thread is not None:
            thread.join()

    def _ask(self) -> None:
        vitals.ask(self._state)
        facts.ask(self._state)


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--blocks", type=int, default=240)
    parser.add_argument("--count", type=int, default=400, help="events in a block")
    given = parser.parse_args()
    found = measure(given.blocks, given.count)
    if not given.json:
        for name in ("cost_share", "cost_interval", "cost_share_traced", "cpu_share", "cpu_share_traced", "step_share"):
            print(f"{name:<18} {found[name]}", file=sys.stdout)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
