"""`python -m tests.benchmarks.bandit_merge --json`: what a new device earns that begins with the sums of others.

A simulation on UCI Occupancy Detection: a device sees temperature, humidity, light and CO2, leaves the heating on or
off, and earns 1 if that is right for the room. `--devices` devices live through consecutive stretches of the training
days, each with a policy that began with nothing, on one declared scale; their sums are added up as
`edge-coordinator bandit merge` does (`models.bandit_sums`), plainly and with Gaussian noise for ε = `--epsilon` at
δ = 1e-5 (one device, one release; the norm is the median device's of another seed's run). New devices then live through
stretches of the test file, which are other days: one begins with nothing, one with the sums, one with the noised sums.
`reward` is the mean over the first `--decisions` decisions and all new devices and seeds; `first` over the first ten.
The share of the commoner answer on the test file is given as `always`.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.accountant import Budget, noise_for
from edge_agent.decide.bandit.by_features import ByFeatures
from edge_agent.decide.bandit.draw import pick
from edge_agent.decide.bandit.learner import learner_of
from firmware_configs.profile import LinThompson, LinUcb, Policy, SquareCb
from models import bandit_sums
from models.bandit_sums import Form
from models.bench.occupancy import columns
from models.warm_start import WarmStart

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
ITEMS = ("off", "on")
SCORES = np.full(2, 0.5, np.float32)
POLICIES: tuple[Policy, ...] = (LinUcb(), LinThompson(), SquareCb())
FIRST = 10


def live(learner: ByFeatures, x: F32, occupied: F32, dice: np.random.Generator) -> F64:
    """Decide and learn along a stretch; the reward of each decision, float64 (n,)."""
    earned = np.zeros(len(x))
    for n, (context, is_on) in enumerate(zip(x, occupied, strict=True)):
        at = pick(learner.vector(learner.beliefs(ITEMS, context, SCORES, SCORES)), float(dice.random()))
        earned[n] = float(at == int(is_on))
        learner.learn(ITEMS[at], earned[n], context, 0.5, n)
    return earned


def new(policy: Policy, scale: dict[str, F64], brought: dict[str, F32] | None = None) -> ByFeatures:
    """A device's policy, with the beginning that its bundle brings."""
    held = {name: np.asarray(array, np.float64) for name, array in (brought or {}).items()}
    found = learner_of(policy, 4, prior=WarmStart({**scale, **held}, ITEMS))
    if not isinstance(found, ByFeatures):
        raise TypeError("no policy of regressions")
    return found


def told(learner: ByFeatures, form: Form) -> F64:
    """What the device would send."""
    return bandit_sums.regressions(
        form, ((row, learner.arms.statistics(item, learner.clock)) for row, item in enumerate(ITEMS))
    )


def gathered(policy: Policy, scale: dict[str, F64], parts: Sequence[tuple[F32, F32]], seed: int) -> list[F64]:
    """The vectors of devices that lived through the parts."""
    form = Form(kind="regressions", items=2, width=6)
    vectors = []
    for n, (x, y) in enumerate(parts):
        learner = new(policy, scale)
        live(learner, x, y, np.random.default_rng([seed, n]))
        vectors.append(told(learner, form))
    return vectors


def measure(policy: Policy, given: argparse.Namespace) -> dict[str, Any]:
    """One policy, all seeds."""
    form = Form(kind="regressions", items=2, width=6)
    x, y = columns("training")
    test_x, test_y = columns("test")
    scale = {"mean": x.mean(axis=0).astype(np.float64), "deviation": x.std(axis=0).astype(np.float64)}
    parts = list(zip(np.array_split(x, given.devices), np.array_split(y, given.devices), strict=True))
    later = range(0, len(test_x) - given.decisions, given.decisions)
    norm = float(np.median([np.linalg.norm(one) for one in gathered(policy, scale, parts, 10_000)]))
    multiplier = noise_for(Budget(epsilon=given.epsilon, delta=1e-5), 1.0, 1, "coordinator")
    earned: dict[str, list[F64]] = {"cold": [], "merged": [], "private": []}
    for seed in range(given.seeds):
        vectors = gathered(policy, scale, parts, seed)
        noise = np.random.default_rng([seed, 77]).normal(0.0, multiplier * norm, form.size)
        noised = np.sum([bandit_sums.clipped(one, norm) for one in vectors], axis=0) + noise
        starts = {
            "cold": None,
            "merged": bandit_sums.warm_start_of(form, np.sum(vectors, axis=0), given.rewards_max),
            "private": bandit_sums.warm_start_of(form, noised, given.rewards_max, multiplier * norm),
        }
        for name, brought in starts.items():
            for n, at in enumerate(later):
                stretch = slice(at, at + given.decisions)
                dice = np.random.default_rng([seed, 1, n])
                earned[name].append(live(new(policy, scale, brought), test_x[stretch], test_y[stretch], dice))
    rows = {
        name: {
            "reward": float(np.mean(all_)),
            "first": float(np.mean([one[:FIRST] for one in all_])),
            "standard_error": float(np.std([one.mean() for one in all_], ddof=1) / len(all_) ** 0.5),
        }
        for name, all_ in earned.items()
    }
    return {**rows, "noise_multiplier": multiplier, "clip_norm": norm, "new_devices": len(later)}


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--devices", type=int, default=100, help="that tell sums")
    parser.add_argument("--decisions", type=int, default=100, help="of a new device")
    parser.add_argument("--epsilon", type=float, default=4.0)
    parser.add_argument("--rewards-max", type=float, default=0.0, help="an item's beginning counts for at most; 0: all")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = {type(policy).__struct_config__.tag: measure(policy, given) for policy in POLICIES}
    if not given.json:
        for name, rows in found.items():
            print(f"{name:<13}", *(f"{way} {rows[way]['reward']:.3f}" for way in ("cold", "merged", "private")))
    _, test_y = columns("test")
    asked = {"seeds": given.seeds, "devices": given.devices, "decisions": given.decisions, "epsilon": given.epsilon}
    always = float(max(test_y.mean(), 1.0 - test_y.mean()))
    print(json.dumps({**found, **asked, "rewards_max": given.rewards_max, "always": always}))


if __name__ == "__main__":
    main()
