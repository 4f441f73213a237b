"""`python -m tests.benchmarks.private --json`: HR@10 with differential privacy and with a secret sum, beside neither.

Private: each round asks each client with probability q (Poisson), each client's whole update is clipped to one L2 norm,
counts once, and Gaussian noise is added to their sum; ε is what `dp-accounting` says of all rounds at δ, the unit of
privacy is one client. The clipping norm is the median norm of the first rounds' updates of another seed, and cohort and
rounds were chosen on the last but one item: what they were chosen by is not in ε, as in most of the literature.

Adaptive: the same, with a clipping norm that starts a tenth as large and follows the median by a noised count whose
noise is in the same ε. Distributed: everyone is asked in every round, rounds and adds its share of discrete Gaussian
noise as a device does under a secret sum, made for three quarters of them; ε holds against the server as well, so no
sampling is counted, and comes from RDP. The server has the ring's sum of what they send and nothing else.

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
from msgspec import structs
from msgspec.structs import replace
from numpy.typing import NDArray

from coordinator.accountant import Budget, Spend, epsilon, noise_for
from coordinator.clipping import Adaptive, next_norm, vector_multiplier
from models.federated import Combine, Named, Plan
from models.secure_sum.collector import Collector
from models.secure_sum.discrete import discrete_gaussian
from models.secure_sum.graph import plan as graph
from models.secure_sum.member import Member
from models.secure_sum.noise import Noise, decode, encode, rounded, share_variance, spare_bits
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


def adaptive(clip: float, noise: float, expected: float, seed: int, norms: list[float]) -> Combine:
    """`gaussian` with a clipping norm that follows the median; `norms` takes its path."""
    dice = np.random.default_rng(seed)
    own = Adaptive(quantile=0.5, learning_rate=0.2, count_noise=expected / 20.0)
    norms.append(clip)

    def combine(_number: int, _cohort: I64, updates: Sequence[Named], _weight: F32) -> Named:
        bound = norms[-1]
        lengths = [float(np.linalg.norm(flat(one))) for one in updates]
        total = np.sum(
            [flat(one) * min(1.0, bound / max(n, 1e-12)) for one, n in zip(updates, lengths, strict=True)], 0
        )
        total = total + dice.normal(0.0, vector_multiplier(noise, own) * bound, len(total))
        count = sum((length <= bound) - 0.5 for length in lengths) + dice.normal(0.0, own.count_noise)
        norms.append(next_norm(bound, count / expected + 0.5, own))
        return shaped(total / expected, updates[0])

    return combine


def distributed(clip: float, multiplier: float, bits: int, every: int) -> Combine:
    """The server of a secret sum to which the members added the noise; it divides by how many they are.

    Every so many rounds each member draws its share; in the others their sum is drawn as the one discrete Gaussian from
    which it differs by less than 1e-12, which is a thousand times quicker.
    """
    dice = np.random.default_rng(7)

    def combine(number: int, _cohort: I64, updates: Sequence[Named], _weight: F32) -> Named:
        size, members = len(flat(updates[0])), len(updates)
        noise = Noise(multiplier=multiplier, least=-(-3 * members // 4))
        ring = Ring(bound=clip, bits=bits, members_max=members)
        ring = structs.replace(ring, spare=spare_bits(noise, ring, size))
        if number % every == 0:
            total = np.sum([encode(flat(one), noise, ring, dice, os.urandom) for one in updates], axis=0)
        else:
            whole = np.sum([rounded(flat(one), ring, dice) for one in updates], axis=0)
            drawn = discrete_gaussian(share_variance(noise, ring, size) * members, size, os.urandom)
            total = (whole + drawn).astype(np.uint64)
        return shaped(decode(total & np.uint64(ring.mask), ring) / members, updates[0])

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
    parser.add_argument("--bits", type=int, default=12, help="of a number, where the members add the noise")
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
    everyone = replace(own, cohort=clients, sampling="turns")
    shares = noise_for(Budget(epsilon=given.epsilon, delta=given.delta, accountant="rdp"), 1.0, rounds, "devices")
    everyone = replace(everyone, participations=rounds)
    by_members = held.hr10(distributed(clip, shares, given.bits, given.every), everyone, name="noise by the members")
    norms: list[float] = []
    following = held.hr10(adaptive(clip / 10, noise, given.cohort, given.seed, norms), own, name="adaptive clipping")
    report = {
        "hr10_adaptive": following,
        "clip_norms": [norms[0], norms[len(norms) // 2], norms[-1]],
        "hr10_distributed": by_members,
        "distributed": {
            "epsilon": epsilon(
                [Spend(noise_multiplier=shares, rate=1.0, rounds=rounds, noise_by="devices")], given.delta, "rdp"
            ),
            "delta": given.delta,
            "unit": "one client (person), against the server too",
            "sampling": "none",
            "accountant": "RDP (dp-accounting)",
            "noise_multiplier": shares,
            "least_members": -(-3 * clients // 4),
            "rounds": rounds,
            "bits": given.bits,
        },
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
