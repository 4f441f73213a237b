"""`python -m tests.benchmarks.bytes --json`: what a client's update weighs, and what that costs in quality.

`ratio_bytes` is what a device really sends in a round (its packed int8 vector with the scales and counts, as
`edge_agent.learn.update` makes them, and msgpack's frame) to its float32 parameters. Error feedback is per client, as
on the device: what rounding took is added to its next update.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.learn.update import dequantise, make_update
from models.federated import Combine, Named
from tests.benchmarks.federation import trial

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


def in_eight_bits(sizes: list[int]) -> Combine:
    """The server of devices that send int8 with error feedback; each message's size is added to `sizes`."""
    residual: dict[int, dict[str, F32]] = {}
    dice = np.random.default_rng(0)

    def combine(_number: int, cohort: NDArray[np.int64], updates: Sequence[Named], weight: F32) -> Named:
        total = {name: np.zeros(value.shape, np.float64) for name, value in updates[0].items()}
        for one, update, share in zip(cohort.tolist(), updates, weight / weight.sum(), strict=True):
            nothing = {name: np.zeros_like(value) for name, value in update.items()}
            packed, residual[one] = make_update(nothing, update, residual.get(one, {}), CLIP, 0.0, dice)
            vector = b"".join(packed.delta[name].tobytes() for name in sorted(packed.delta))
            facts = {"names": sorted(packed.delta), "scales": [packed.scale[n] for n in sorted(packed.scale)]}
            facts |= {"examples": 64, "loss_before": 0.5, "loss_after": 0.4}
            sizes.append(len(msgspec.msgpack.encode({"delta": vector, "facts": facts})))
            for name in total:
                total[name] += share * dequantise(packed.delta[name], packed.scale[name])
        return {name: value.astype(np.float32) for name, value in total.items()}

    return combine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path, help="`user,item,rating,time` a line; default: ml-100k")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sizes: list[int] = []
    full, small = [], []
    for seed in range(given.seeds):
        held = trial(given.ratings, seed)
        full.append(held.hr10(None, name=f"float32, seed {seed}"))
        small.append(held.hr10(in_eight_bits(sizes), name=f"int8, seed {seed}"))
    parameters = held.items * (held.plan.dimensions + 1) + held.plan.length * held.plan.dimensions
    # The simulation has one more row, of the empty place, which stays zero and a device does not send.
    surplus = held.plan.dimensions + 1
    report = {
        "ratio_bytes": (max(sizes) - surplus) / (4 * parameters),
        "hr10_float32": mean(full),
        "hr10_int8": mean(small),
        "points_lost": mean(full) - mean(small),
        "parameters": parameters,
        "seeds": given.seeds,
        "by_seed": [{"float32": a, "int8": b} for a, b in zip(full, small, strict=True)],
    }
    print(json.dumps(report) if given.json else _told(report))


def _told(report: dict[str, object]) -> str:
    return "\n".join(f"{name:<14} {value}" for name, value in report.items())


if __name__ == "__main__":
    main()
