"""`python -m tests.benchmarks.batching --json`: what scoring the events of one step together could save (ADR 0012).

The whole `step` for one event, with 1, 32 and 128 events in it, beside one scoring call for as many rows; and how many
rows of such a call differ in their bits from the same row scored alone, which a replay would see.
"""

import argparse
import json
import math
import os
import platform
import time
from typing import Any

import msgspec
import numpy as np

from edge_agent.agent import Agent, step
from edge_agent.doors import Doors
from edge_agent.happenings import BundleReady, Message
from edge_agent.infer.bundle import Backend, load_model
from edge_agent.infer.model import LoadedModel
from firmware_configs.loader import parse
from tests.benchmarks.load import BUNDLE, DEVICE, PROFILE, READING

NOW_MS = 1_800_000_000_000
SIZES = (1, 32, 128)
EVENTS = 512
BACKENDS: tuple[Backend, ...] = ("onnx", "tflite")


def agent_with(model: LoadedModel) -> Agent:
    """An agent in memory that decides on every reading."""
    doors = Doors(
        secret=b"s" * 32,
        recall=lambda _room, _key: None,
        models={model.name: model},
        over_budget=lambda _id, _ms: False,
        local_hour=lambda _ms: (12, 1),
    )
    agent = Agent(parse(PROFILE), DEVICE, doors)
    step(agent, [BundleReady(name=model.name, version=model.version)], NOW_MS)
    return agent


def step_us(model: LoadedModel, size: int) -> float:
    """µs an event, in steps of `size` events."""
    agent = agent_with(model)
    events = [
        Message(
            topic=f"bench/{DEVICE}/in",
            payload=msgspec.json.encode({"id": str(n), **READING, "light": 400.0 + n % 50}),
            arrived_ms=NOW_MS,
        )
        for n in range(EVENTS)
    ]
    batches = [events[start : start + size] for start in range(0, EVENTS, size)]
    started = time.perf_counter()
    for batch in batches:
        step(agent, batch, NOW_MS)
    return (time.perf_counter() - started) / EVENTS * 1e6


def call_us(model: LoadedModel, rows: int) -> float:
    """µs a scoring call of so many rows."""
    feeds = {"features": np.random.default_rng(0).uniform(0, 500, (rows, 4)).astype(np.float32)}
    started = time.perf_counter()
    for _ in range(200):
        model.predict(feeds)
    return (time.perf_counter() - started) / 200 * 1e6


def other_bits(model: LoadedModel) -> tuple[int, int]:
    """Rows of batches whose bits differ from the row alone, of how many."""
    dice, differing, total = np.random.default_rng(1), 0, 0
    for rows in (2, 3, 4, 7, 8, 16, 31, 32, 128):
        features = dice.uniform(0, 500, (rows, 4)).astype(np.float32)
        together = model.predict({"features": features})
        alone = np.concatenate([model.predict({"features": features[n : n + 1]}) for n in range(rows)])
        differing, total = differing + int((together != alone).sum()), total + rows
    return differing, total


def measure(rounds: int) -> dict[str, Any]:
    """The fastest of several alternating rounds."""
    found: dict[str, Any] = {}
    models = {backend: load_model(BUNDLE, backend) for backend in BACKENDS}
    cases = [(backend, size) for backend in BACKENDS for size in SIZES]
    stepped, called = dict.fromkeys(cases, math.inf), dict.fromkeys(cases, math.inf)
    for _ in range(rounds):
        for backend, size in cases:
            stepped[backend, size] = min(stepped[backend, size], step_us(models[backend], size))
            called[backend, size] = min(called[backend, size], call_us(models[backend], size))
    for backend, model in models.items():
        steps = {size: stepped[backend, size] for size in SIZES}
        calls = {size: called[backend, size] for size in SIZES}
        differing, total = other_bits(model)
        found[backend] = {
            "step_us_per_event": {str(size): round(us, 1) for size, us in steps.items()},
            "call_us": {str(size): round(us, 2) for size, us in calls.items()},
            # What remains of a step if its calls became one.
            "saved_share": {
                str(size): round((calls[1] - calls[size] / size) / steps[size], 3) for size in SIZES if size > 1
            },
            "rows_with_other_bits": [differing, total],
        }
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()}
    return {**found, "samples": {"rounds": rounds, "events": EVENTS}, "machine": machine}


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    found = measure(given.rounds)
    if not given.json:
        for backend in BACKENDS:
            print(backend, found[backend])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
