"""`python -m tests.benchmarks.bytes --json`: what a client's update weighs, and what that costs in quality.

`ratio_bytes` is what a device really sends in a round (its packed int8 vector with the scales and counts, as
`edge_agent.learn.update` makes them, and msgpack's frame) to its float32 parameters. Error feedback is per client, as
on the device: what rounding took, or what was not sent, is added to its next update.

Rows: `int8`; `top_k`, the largest numbers in int8 with their positions; `random_k`, numbers drawn alike by all in a
secret sum of the cohort, where each client counts once. Its bytes are all four messages of a member, keys and shares
included, packed by the protocol; its sum is the ring's, which the protocol's equals.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.learn.plan import Plan
from edge_agent.learn.secret import vector_of
from edge_agent.learn.update import dequantise, make_update
from models import sparse
from models.federated import Combine, Named
from models.secure_sum.ring import Ring
from tests.benchmarks.federation import Trial, trial
from tests.benchmarks.private import median_norm
from tests.benchmarks.secure_sum import measure

F32 = NDArray[np.float32]
CLIP = 1e6
"""So large that nothing is clipped: what is measured here is rounding."""


def plain(_number: int, _cohort: NDArray[np.int64], updates: Sequence[Named], weight: F32) -> Named:
    """The weighted mean of float32 updates."""
    share = weight / weight.sum()
    return {
        name: np.asarray(sum(s * one[name] for s, one in zip(share, updates, strict=True)), np.float32)
        for name in updates[0]
    }


def in_eight_bits(sizes: list[int], top_k: float = 0.0) -> Combine:
    """The server of devices that send int8 with error feedback; each message's size is added to `sizes`."""
    residual: dict[int, dict[str, F32]] = {}
    dice = np.random.default_rng(0)

    def combine(_number: int, cohort: NDArray[np.int64], updates: Sequence[Named], weight: F32) -> Named:
        total = {name: np.zeros(value.shape, np.float64) for name, value in updates[0].items()}
        for one, update, share in zip(cohort.tolist(), updates, weight / weight.sum(), strict=True):
            nothing = {name: np.zeros_like(value) for name, value in update.items()}
            packed, residual[one] = make_update(nothing, update, residual.get(one, {}), CLIP, 0.0, dice, top_k)
            vector = np.concatenate([packed.delta[name].reshape(-1) for name in update])
            facts: dict[str, Any] = {"names": list(update), "scales": [packed.scale[n] for n in update]}
            facts |= {"examples": 64, "loss_before": 0.5, "loss_after": 0.4}
            if packed.positions is not None:
                facts["positions"] = sparse.pack(packed.positions)
                vector = vector[packed.positions]
            sizes.append(len(msgspec.msgpack.encode({"delta": vector.tobytes(), "facts": facts})))
            for name in total:
                total[name] += share * dequantise(packed.delta[name], packed.scale[name])
        return {name: value.astype(np.float32) for name, value in total.items()}

    return combine


def in_secret(clip: float, bits: int, random_k: float, seed: int) -> Combine:
    """The server of a secret sum of drawn numbers: it has the ring's sum and nothing else."""
    residual: dict[int, dict[str, F32]] = {}
    dice = np.random.default_rng(5)

    def combine(number: int, cohort: NDArray[np.int64], updates: Sequence[Named], _weight: F32) -> Named:
        ring = Ring(bound=clip, bits=bits, members_max=len(updates))
        names = tuple(updates[0])
        nothing = {name: np.zeros_like(value) for name, value in updates[0].items()}
        plan = _plan(names, number + 1, clip, random_k, seed)
        total = np.zeros(0, np.uint64)
        for one, update in zip(cohort.tolist(), updates, strict=True):
            vector, residual[one] = vector_of(plan, nothing, update, residual.get(one, {}), clip)
            values = ring.encode(vector, dice)
            total = total + values if len(total) else values
        size = sum(value.size for value in updates[0].values())
        whole = np.zeros(size)
        at = sparse.drawn(size, sparse.kept(size, random_k), seed, number + 1)
        whole[at] = ring.decode(total, len(updates)) / len(updates)
        return _shaped(whole, updates[0])

    return combine


def _shaped(vector: NDArray[np.float64], like: Named) -> Named:
    found, at = {}, 0
    for name, value in like.items():
        found[name] = np.asarray(vector[at : at + value.size], np.float32).reshape(value.shape)
        at += value.size
    return found


def _plan(names: tuple[str, ...], number: int, clip: float, random_k: float, seed: int) -> Plan:
    return Plan(
        bundle="affinity-recent",
        version="1.0.0",
        names=names,
        round=number,
        rounds=10_000,
        epochs=1,
        lr=1.0,
        batch=1,
        negatives=0,
        clip_norm=clip,
        prox_mu=0.0,
        seed=seed,
        random_k=random_k,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path, help="`user,item,rating,time` a line; default: ml-100k")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sparse-seeds", type=int, default=1, help="seeds of the rows top_k and random_k")
    parser.add_argument("--top-k", type=float, default=0.1)
    parser.add_argument("--random-k", type=float, default=0.5)
    parser.add_argument("--bits", type=int, default=12, help="of a number in the secret sum")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    hr10: dict[str, list[float]] = {"float32": [], "int8": [], "top_k": [], "random_k": []}
    sizes: list[int] = []
    sparse_sizes: list[int] = []
    clips = []
    for seed in range(given.seeds):
        held = trial(given.ratings, seed)
        clips.append(4.0 * median_norm(held, held.plan))
        servers = {
            "float32": None,
            "int8": in_eight_bits(sizes),
            "top_k": in_eight_bits(sparse_sizes, given.top_k),
            "random_k": in_secret(clips[-1], given.bits, given.random_k, seed),
        }
        for name, server in servers.items():
            if seed >= given.sparse_seeds and name in {"top_k", "random_k"}:
                continue
            hr10[name].append(held.hr10(server, name=f"{name}, seed {seed}"))
    report = _report(given, held, hr10, {"int8": max(sizes), "top_k": max(sparse_sizes)})
    report["rows"]["random_k"]["clip_norms"] = clips[: given.sparse_seeds]
    print(json.dumps(report) if given.json else _told(report))


def _report(
    given: argparse.Namespace, held: Trial, hr10: dict[str, list[float]], sizes: dict[str, int]
) -> dict[str, Any]:
    parameters = held.items * (held.plan.dimensions + 1) + held.plan.length * held.plan.dimensions
    # The simulation has one more row, of the empty place, which stays zero and a device does not send.
    surplus = held.plan.dimensions + 1
    drawn = sparse.kept(parameters, given.random_k)
    secret = measure(held.plan.cohort, 0.0, drawn, 7, given.bits)
    ratio = {
        "int8": (sizes["int8"] - surplus) / (4 * parameters),
        "top_k": sizes["top_k"] / (4 * parameters),
        "random_k": secret["bytes_sent_member"] / (4 * parameters),
    }
    rows = {
        name: {
            "ratio_bytes": ratio[name],
            "hr10": mean(hr10[name]),
            "points_lost": mean(hr10["float32"][: len(hr10[name])]) - mean(hr10[name]),
            "by_seed": hr10[name],
        }
        for name in ratio
    }
    return {
        "ratio_bytes": ratio["int8"],
        "hr10_float32": mean(hr10["float32"]),
        "hr10_int8": mean(hr10["int8"]),
        "points_lost": rows["int8"]["points_lost"],
        "rows": rows,
        "float32_by_seed": hr10["float32"],
        "top_k": given.top_k,
        "random_k": given.random_k,
        "secret_bits": given.bits,
        "parameters": parameters,
        "seeds": given.seeds,
    }


def _told(report: dict[str, Any]) -> str:
    lines = [f"float32: HR@10 {report['hr10_float32']:.1f}, {report['seeds']} seeds"]
    for name, row in report["rows"].items():
        lines.append(f"{name:<10} {row['ratio_bytes']:.3f} of float32, HR@10 {row['hr10']:.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
