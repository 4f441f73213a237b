"""`python -m tests.benchmarks.private --json`: HR@10 with differential privacy and with a secret sum, beside neither.

Private: each round asks each client with probability q (Poisson), each client's whole update is clipped to one L2 norm,
counts once, and Gaussian noise is added to their sum; ε is what `dp-accounting` says of all rounds at δ, the unit of
privacy is one client. The clipping norm is the median norm of the first rounds' updates of another seed, and cohort and
rounds were chosen on the last but one item: what they were chosen by is not in ε, as in most of the literature.

Secret: the updates are rounded into a ring and summed; every `--every` rounds the whole protocol runs on real keys and
its sum must equal the ring's.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from coordinator.accountant import Budget, Spend, epsilon, noise_for
from models.federated import Combine, Named, Plan
from models.secure_sum.collector import Collector
from models.secure_sum.graph import plan as graph
from models.secure_sum.member import Member
from models.secure_sum.ring import Ring
from tests.benchmarks.federation import Trial, flat, shaped, trial

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]


def gaussian(clip: float, noise: float, expected: float, seed: int) -> Combine:
    """The server of a private round: Σ clipped + N(0, (noise · clip)²), over the expected number of clients.

    Source: McMahan et al. 2018, algorithm 1, with the fixed denominator of its estimator f̃_f.
    """
    dice = np.random.default_rng(seed)

    def combine(_number: int, _cohort: I64, updates: Sequence[Named], _weight: F32) -> Named:
        total = np.zeros(len(flat(updates[0])))
        for update in updates:
            vector = flat(update)
            total += vector * min(1.0, clip / max(float(np.linalg.norm(vector)), 1e-12))
        return shaped((total + dice.normal(0.0, noise * clip, len(total))) / expected, updates[0])

    return combine


def in_secret(bound: float, bits: int, every: int, checked: list[int]) -> Combine:
    """The server that only ever has the ring's sum; every so many rounds the real protocol computes it too."""
    dice = np.random.default_rng(5)

    def combine(number: int, cohort: I64, updates: Sequence[Named], weight: F32) -> Named:
        share = weight / weight.sum() * len(updates)  # as devices could scale by themselves from bucketed counts
        ring = Ring(bound=bound, bits=bits, members_max=len(updates))
        vectors = [ring.encode(flat(one) * part, dice) for one, part in zip(updates, share, strict=True)]
        total = np.asarray(sum(vectors), np.uint64)
        if number % every == 0 and len(cohort) >= 3:
            by_protocol = _protocol(vectors, ring, number)
            assert (by_protocol == total).all(), "the protocol's sum differs from the sum"
            checked.append(number)
        return shaped(ring.decode(total, len(updates)) / len(updates), updates[0])

    return combine


def _protocol(vectors: list[U64], ring: Ring, number: int) -> U64:
    members = [Member(n, f"round:{number}", os.urandom) for n in range(len(vectors))]
    server = Collector(f"round:{number}", graph(len(members), 0.25, 0.05, 1e-6), ring, len(vectors[0]), number)
    told = server.directories({n: member.keys() for n, member in enumerate(members)})
    passed = server.forwarded({n: member.shares(told[n]) for n, member in enumerate(members)})
    arrived = server.arrived({n: m.masked(passed[n], vectors[n], ring) for n, m in enumerate(members)})
    total, _ = server.total({n: member.revealed(arrived[n]) for n, member in enumerate(members)})
    return total


def median_norm(held: Trial, plan: Plan) -> float:
    """Of the updates in a training's first rounds, with another seed."""
    norms: list[float] = []

    def note(_number: int, _cohort: I64, updates: Sequence[Named], _weight: F32) -> Named:
        norms.extend(float(np.linalg.norm(flat(one))) for one in updates)
        return {name: np.mean([one[name] for one in updates], axis=0, dtype=np.float32) for name in updates[0]}

    held.scores(note, replace(plan, seed=plan.seed + 1_000, participations=1))
    return float(np.median(norms))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--cohort", type=int, default=472, help="clients asked a round, on average")
    parser.add_argument("--participations", type=int, default=20, help="rounds that ask a client, on average")
    parser.add_argument("--dimensions", type=int, default=8, help="of the private model's embeddings")
    parser.add_argument("--server-lr", type=float, default=0.03)
    parser.add_argument("--every", type=int, default=40, help="rounds between runs of the whole secret protocol")
    parser.add_argument("--validation", action="store_true", help="ask for the last but one item, to choose by")
    parser.add_argument("--skip-secret", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    held = trial(given.ratings, given.seed, validation=given.validation)
    clients = len(held.question.users)
    own = replace(held.plan, cohort=given.cohort, participations=given.participations, sampling="poisson")
    own = replace(own, dimensions=given.dimensions, server_lr=given.server_lr)
    rounds, rate = own.rounds(clients), given.cohort / clients
    noise = noise_for(Budget(epsilon=given.epsilon, delta=given.delta), rate, rounds)
    clip = median_norm(held, own)
    print(f"{rounds} rounds, q = {rate:.3f}, noise {noise:.3f}, clip {clip:.3g}", file=sys.stderr)
    private = held.hr10(gaussian(clip, noise, given.cohort, given.seed), own, name="private")
    same_without = held.hr10(gaussian(clip, 0.0, given.cohort, given.seed), own, name="same rounds, no noise")
    report = {
        "hr10": None if given.skip_secret else held.hr10(None, name="neither"),
        "hr10_private": private,
        "hr10_same_rounds_without_noise": same_without,
        "epsilon": epsilon([Spend(noise_multiplier=noise, rate=rate, rounds=rounds)], given.delta),
        "delta": given.delta,
        "unit": "one client (person)",
        "sampling": f"Poisson, q = {rate:.4g}",
        "accountant": "PLD (dp-accounting)",
        "noise_multiplier": noise,
        "clip_norm": clip,
        "rounds": rounds,
        "dimensions": given.dimensions,
        "seed": given.seed,
        "hr10_popularity": _popularity(held),
    }
    if not given.skip_secret:
        checked: list[int] = []
        report["hr10_secret"] = held.hr10(in_secret(0.02, 16, given.every, checked), name="secret sum")
        report["protocol_rounds_checked"] = len(checked)
    print(json.dumps(report) if given.json else "\n".join(f"{name:<32} {value}" for name, value in report.items()))


def _popularity(held: Trial) -> float:
    """What everyone's most popular items reach: a private model must beat this to have learned tastes."""
    from models.bench import references
    from models.bench.ml_100k import measure, summary

    scores = references.popularity(references.touched(held.question.histories, held.items))
    return summary("", "", [measure(scores, held.question, held.items, held.plan.seed)]).hr10


if __name__ == "__main__":
    main()
