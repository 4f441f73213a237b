"""`python -m tests.benchmarks.policies --json`: what a bandit's choice and its learning cost, and how much it stores.

10 items and 20 features, as on a device: beliefs, the whole vector of probabilities, the draw; then one reward, and
packing what it changed. Microseconds, the median of rounds; linear algebra on one thread, as the agent runs.
"""

import argparse
import json
import os
import platform
import statistics
import time
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from edge_agent.decide.bandit.draw import uniforms
from edge_agent.decide.bandit.learner import learner_of
from edge_agent.decide.bandit.slate import drawn, draws_needed
from firmware_configs.profile import (
    EpsilonGreedy,
    LinThompson,
    LinUcb,
    Policy,
    SquareCb,
    Thompson,
    ThompsonGaussian,
)

POLICIES: tuple[Policy, ...] = (
    EpsilonGreedy(),
    Thompson(),
    ThompsonGaussian(),
    LinUcb(),
    LinThompson(),
    SquareCb(),
    SquareCb(half_life_rewards=1_000.0),
)


def measure(policy: Policy, items: int, width: int, rounds: int) -> dict[str, float]:
    """One policy, after 500 rewards."""
    dice = np.random.default_rng(0)
    learner, names = learner_of(policy, width), tuple(f"item-{n}" for n in range(items))
    contexts = dice.normal(size=(rounds + 500, width)).astype(np.float32)
    scores, places = dice.random(items).astype(np.float32), np.arange(items)
    for n in range(500):
        learner.learn(names[n % items], float(dice.random() < 0.3), contexts[n], 0.3, n)
    chosen, learned, packed, sizes = [], [], [], [0]
    for n, context in enumerate(contexts[500:]):
        began = time.perf_counter()
        beliefs = learner.beliefs(names, context, scores, scores)
        draw = uniforms(b"s" * 32, str(n), draws_needed(policy, 1))
        choice = drawn(learner.vector, beliefs, scores, places, 1, draw)
        decided = time.perf_counter()
        keys = learner.learn(names[choice.order[0]], float(n % 3 == 0), context, 0.3, 500 + n)
        ended = time.perf_counter()
        sizes = [len(learner.pack(key)) for key in keys]
        stored = time.perf_counter()
        chosen.append(decided - began)
        learned.append(ended - decided)
        packed.append(stored - ended)
    middle = [round(statistics.median(times) * 1e6, 1) for times in (chosen, learned, packed)]
    return dict(zip(("choose_us", "learn_us", "pack_us"), middle, strict=True)) | {"bytes_a_reward": sum(sizes)}


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--items", type=int, default=10)
    parser.add_argument("--features", type=int, default=20)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for policy in POLICIES:
        faded = " with a half-life" if getattr(policy, "half_life_rewards", 0.0) else ""
        name = f"{type(policy).__struct_config__.tag}{faded}"
        found[name] = measure(policy, given.items, given.features, given.rounds)
        if not given.json:
            print(name, found[name])
    machine = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
    print(json.dumps({**found, "items": given.items, "features": given.features, "machine": machine}))


if __name__ == "__main__":
    main()
