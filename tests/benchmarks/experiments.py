"""Do the experiment engine's claims hold? False positives under peeking, power, mismatch alarm, false discoveries.

    python -m tests.benchmarks.experiments --json

A/A tests are looked at after every person, from the first on; a test is a false positive if the interval for the
difference ever left out 0. Power stands beside a test of fixed size, which may be looked at once. The numbers come from
`models.experiments`; where they are computed for many tests at once, a sample of them is compared with it.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_configs.profile import Adaptive, Arm, Experiment
from models.experiments import discoveries, mismatch, sequences
from models.experiments.allocation import propose
from models.experiments.analysis import analyse, declared
from models.experiments.effects import effect

F64 = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], F64]
ALPHA = 0.05
CHUNK = 100
Z_95, Z_80 = 1.959963984540054, 0.8416212335729143


def bernoulli(rate: float) -> Draw:
    """z of a click: -1/2 or 1/2."""
    return lambda dice, shape: (dice.random(shape) < rate).astype(np.float64) - 0.5


def spend(dice: np.random.Generator, shape: tuple[int, ...]) -> F64:
    """z of money spent: nothing by nine of ten, else log-normal with a heavy tail, bounded at 100 (0.9 % of buyers)."""
    amount = np.exp(dice.normal(1.5, 1.3, shape)) * (dice.random(shape) < 0.1)
    return np.minimum(amount, 100.0) / 100.0 - 0.5


METRICS: dict[str, Draw] = {
    "click 2 %": bernoulli(0.02),
    "click 10 %": bernoulli(0.1),
    "click 50 %": bernoulli(0.5),
    "spend, heavy tail": spend,
}


class Seen:
    """Many experiments with two arms of one half each, after every person: arrays (tests, people)."""

    def __init__(self, dice: np.random.Generator, first: Draw, second: Draw, tests: int, people: int) -> None:
        shape = (tests, people)
        treated = dice.random(shape) < 0.5
        z = np.where(treated, second(dice, shape), first(dice, shape))
        self.people = np.broadcast_to(np.arange(1.0, people + 1.0), shape)
        self.counts = [np.cumsum(arm, axis=1, dtype=np.float64) for arm in (~treated, treated)]
        self.sums = [np.cumsum(z * arm, axis=1) for arm in (~treated, treated)]
        self.squares = [np.cumsum(z * z * arm, axis=1) for arm in (~treated, treated)]

    def effect(self) -> tuple[F64, F64]:
        """(value, variance) as `models.experiments.effects` gives them; NaN while an arm has nobody."""
        value, variance = np.zeros(self.people.shape), np.zeros(self.people.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            for sign, n, s, q in zip((-1.0, 1.0), self.counts, self.sums, self.squares, strict=True):
                mean = s / n
                seen = np.minimum(0.5, n / self.people)
                padding = ((0.5 - mean) ** 2 + (0.5 + mean) ** 2) * (self.people / n) ** 2
                variance += (np.maximum(q - s * mean, 0.0) / seen**2 + padding) / self.people
                value += sign * mean
        return value, variance

    def left_out(self, rho2: float) -> NDArray[np.bool_]:
        """(tests, people): whether the mixture's interval leaves out 0 there."""
        value, variance = self.effect()
        with np.errstate(invalid="ignore"):
            return np.abs(value) > sequences.margin(self.people, variance, rho2, ALPHA)

    def left_out_surely(self, every: int) -> NDArray[np.bool_]:
        """The same for the exact intervals of both arms, looked at after every so many people."""
        at = slice(every - 1, None, every)
        bounds = [
            sequences.bounded(n[:, at], s[:, at] + n[:, at] / 2, q[:, at] + s[:, at] + n[:, at] / 4, ALPHA / 2, 0.0)
            for n, s, q in zip(self.counts, self.sums, self.squares, strict=True)
        ]
        return np.asarray((bounds[0][1] < bounds[1][0]) | (bounds[1][1] < bounds[0][0]))

    def check(self, dice: np.random.Generator, looks: int) -> None:
        """Compare a sample of looks with the real functions.

        Raises:
            SystemExit: they differ.
        """
        value, variance = self.effect()
        for _ in range(looks):
            test, at = int(dice.integers(value.shape[0])), int(dice.integers(10, value.shape[1]))
            table = np.zeros((2, 6))
            for arm in (0, 1):
                table[arm, :3] = self.counts[arm][test, at], self.sums[arm][test, at], self.squares[arm][test, at]
            real = effect({0: table}, {0: [0.5, 0.5]}, [-1.0, 1.0], 0)
            if real is None or not np.allclose([real.value, real.variance], [value[test, at], variance[test, at]]):
                sys.exit(f"the benchmark's figures are not the library's: {real}")


def false_positives(tests: int, people: int, seed: int, exact_every: int = 20) -> dict[str, Any]:
    """Share of A/A tests in which a difference was ever claimed, by kind of metric."""
    rho2 = sequences.tuned(float(people), ALPHA)
    found: dict[str, Any] = {}
    for n, (name, draw) in enumerate(METRICS.items()):
        dice = np.random.default_rng([seed, n])
        wrong = sure = fixed = 0
        for start in range(0, tests, CHUNK):
            seen = Seen(dice, draw, draw, min(CHUNK, tests - start), people)
            seen.check(dice, 3)
            wrong += int(seen.left_out(rho2).any(axis=1).sum())
            sure += int(seen.left_out_surely(exact_every).any(axis=1).sum())
            value, variance = seen.effect()
            late = np.abs(value[:, 100:]) > Z_95 * np.sqrt(variance[:, 100:] / seen.people[:, 100:])
            fixed += int(late.any(axis=1).sum())
        found[name] = {
            "mixture": wrong / tests,
            "bounded": sure / tests,
            "fixed_size_test_peeked_at": fixed / tests,
        }
    return found


def power(tests: int, seed: int, base: float = 0.10, other: float = 0.12) -> dict[str, Any]:
    """People until 80 % of the experiments with a real difference have found it, beside a test of fixed size."""
    fixed = 2.0 * math.ceil((Z_95 + Z_80) ** 2 * (base * (1 - base) + other * (1 - other)) / (other - base) ** 2)
    most = int(3.5 * fixed)
    rho2 = sequences.tuned(fixed, ALPHA)
    dice, stops, sure_stops, wrong_way = np.random.default_rng([seed, 77]), [], [], 0
    for start in range(0, tests, CHUNK // 2):
        seen = Seen(dice, bernoulli(base), bernoulli(other), min(CHUNK // 2, tests - start), most)
        out = seen.left_out(rho2)
        at = np.where(out.any(axis=1), out.argmax(axis=1) + 1, most + 1)
        stops.append(at)
        value = seen.effect()[0]
        rows = np.flatnonzero(at <= most)
        wrong_way += int((value[rows, at[rows] - 1] < 0.0).sum())
        sure = seen.left_out_surely(50)
        sure_stops.append(np.where(sure.any(axis=1), (sure.argmax(axis=1) + 1) * 50, most + 1))
    people, surely = np.concatenate(stops), np.concatenate(sure_stops)
    needed = float(np.quantile(people, 0.8))
    return {
        "rates": [base, other],
        "fixed_size_80": fixed,
        "mixture_80": needed,
        "mixture_median": float(np.median(people)),
        "mixture_mean": float(np.minimum(people, most).mean()),
        "ratio_80": needed / fixed,
        "ratio_mean": float(np.minimum(people, most).mean()) / fixed,
        "found_at_fixed_size": float((people <= fixed).mean()),
        "bounded_80": float(np.quantile(surely, 0.8)) if (surely <= most).mean() >= 0.8 else None,
        "bounded_found_at_most": float((surely <= most).mean()),
        "most": most,
        "wrong_direction": wrong_way / tests,
    }


def ratio_alarm(tests: int, people: int, seed: int, every: int = 100) -> dict[str, float]:
    """How often a split of 48/52 is noticed by so many people, and one of 50/50 taken for a mismatch, looking often."""
    found = {}
    for name, share in (("caught_48_52", 0.48), ("false_alarms_50_50", 0.5)):
        dice = np.random.default_rng([seed, int(share * 100)])
        steps = dice.binomial(every, share, (tests, people // every)).cumsum(axis=1).astype(np.float64)
        looked = np.arange(every, people + 1, every, dtype=np.float64)
        evidence = mismatch.log_evidence(np.stack([steps, looked - steps], axis=-1), [0.5, 0.5])
        found[name] = float((evidence >= -math.log(mismatch.ALPHA)).any(axis=1).mean())
        found[f"{name}_at_the_end_only"] = float((evidence[:, -1] >= -math.log(mismatch.ALPHA)).mean())
    return found


def discovery_rate(tests: int, seed: int, metrics: int = 20, real: int = 4) -> dict[str, float]:
    """Share of wrong claims among all claims, over experiments with 20 metrics of which 4 differ, stopped greedily.

    Each experiment stops at the look with the most claims, which is the worst that a person can do to it.
    """
    dice = np.random.default_rng([seed, 5])
    looks, each = 20, 200
    rho2 = sequences.tuned(2_000.0, ALPHA)
    shares, power_of = [], []
    for _ in range(tests):
        shift = np.where(np.arange(metrics) < real, 0.15, 0.0)
        paths = (shift * each + math.sqrt(each) * dice.normal(size=(looks, metrics))).cumsum(axis=0)
        people = each * np.arange(1.0, looks + 1.0)[:, None]
        evidence = sequences.log_evidence(people, paths / people, np.ones_like(paths), rho2)
        claimed = [discoveries.by_evidence(one.tolist(), ALPHA) for one in evidence]
        most = max(claimed, key=lambda one: int(one.sum()))
        shares.append(most[real:].sum() / max(1, most.sum()))
        power_of.append(most[:real].mean())
    return {"false_share": float(np.mean(shares)), "found_share": float(np.mean(power_of))}


def covariate(tests: int, seed: int, lift: float = 0.02, people: int = 4_000) -> dict[str, float]:
    """With and without CUPED: ten tries before and ten after, of people whose rates differ (mean 20 %), 60 looks.

    Returns:
        Share of tests that claim a difference, without one and with `lift` more.
    """
    dice, rho2 = np.random.default_rng([seed, 3]), sequences.tuned(float(people), ALPHA)
    looks = np.unique(np.geomspace(20, people, 60).astype(int)) - 1
    found = {}
    for name, added in (("false", 0.0), ("found", lift)):
        claims = np.zeros((tests, 2), np.bool_)
        for test in range(tests):
            arm, rate = dice.integers(0, 2, people), dice.beta(1.0, 4.0, people)
            w = dice.binomial(10, rate) / 10.0 - 0.5
            z = dice.binomial(10, np.clip(rate + added * arm, 0.0, 1.0)) / 10.0 - 0.5
            rows = np.stack([np.ones(people), z, z * z, w, w * w, z * w], axis=1)
            sums = [np.cumsum(rows * (arm == side)[:, None], axis=0) for side in (0, 1)]
            for at in looks:
                table = np.stack([sums[0][at], sums[1][at]])
                for k, kept in enumerate((6, 3)):
                    one = effect({0: table * (np.arange(6) < kept)}, {0: [0.5, 0.5]}, [-1.0, 1.0], 0)
                    if one is not None:
                        margin = sequences.margin(np.array(one.people), np.array(one.variance), rho2, ALPHA)
                        claims[test, k] |= abs(one.value) > float(margin)
        found[f"{name}_with_cuped"], found[f"{name}_without"] = (float(share) for share in claims.mean(axis=0))
    return found


def adaptive(tests: int, seed: int, lifts: tuple[float, ...], looks: int = 25, each: int = 200) -> dict[str, float]:
    """Shares that move at each look as the sums allow, while everybody's rate drifts between 10 and 30 %.

    Args:
        lifts: what is added to the rate in each arm; the first is the control.
    Returns:
        Share of tests in which anything ever moved, in which an arm moved the wrong way (any way, for one that is like
        the control), and the share of people who came into the best arm.
    """
    names = [f"arm-{n}" for n in range(len(lifts))]
    trial = Experiment(name="x", arms=tuple(Arm(name=name) for name in names), adaptive=Adaptive())
    best = int(np.argmax(lifts))
    dice = np.random.default_rng([seed, 9])
    moved = wrong = 0
    in_best = 0.0
    for _ in range(tests):
        shares: dict[int, Sequence[float]] = {0: declared(trial)}
        tables: dict[int, F64] = {}
        steps: list[tuple[Sequence[float], Sequence[float]]] = []
        for look in range(looks):
            now = max(shares)
            arms = dice.choice(len(lifts), each, p=shares[now])
            rate = 0.2 + 0.1 * math.sin(look) + np.asarray(lifts)[arms]
            z = (dice.random(each) < rate) - 0.5
            table = tables.setdefault(now, np.zeros((len(lifts), 6)))
            for arm in range(len(lifts)):
                own = z[arms == arm]
                table[arm, :3] += len(own), own.sum(), (own**2).sum()
            in_best += float((arms == best).sum())
            proposal = propose(trial, analyse(trial, tables, shares), shares[now])
            if proposal.reasons:
                steps.append((shares[now], proposal.shares))
                shares[now + 1] = proposal.shares
        moved += bool(steps)
        wrong += any(
            abs(new[n] - old[n]) > 1e-5 and np.sign(new[n] - old[n]) != np.sign(lift - lifts[0])
            for old, new in steps
            for n, lift in enumerate(lifts)
            if n
        )
    return {"moved": moved / tests, "wrong": wrong / tests, "in_best_arm": in_best / (tests * looks * each)}


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=2_000)
    parser.add_argument("--people", type=int, default=4_000, help="people of an A/A test, looked at one by one")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {
        "tests": args.tests,
        "people": args.people,
        "alpha": ALPHA,
        "seed": args.seed,
        "false_positives": false_positives(args.tests, args.people, args.seed),
        "power": power(min(args.tests, 1_000), args.seed),
        "ratio_mismatch": ratio_alarm(args.tests, 20_000, args.seed),
        "covariate": covariate(args.tests // 5, args.seed),
        "adaptive_without_effect": adaptive(args.tests // 2, args.seed, (0.0, 0.0, 0.0)),
        "adaptive_with_effect": adaptive(args.tests // 10, args.seed, (0.0, 0.05, -0.05)),
        "false_discoveries": discovery_rate(args.tests, args.seed),
    }
    found["false_positive_worst"] = max(kind["mixture"] for kind in found["false_positives"].values())
    print(json.dumps(found, indent=None if args.json else 2))


if __name__ == "__main__":
    main()
