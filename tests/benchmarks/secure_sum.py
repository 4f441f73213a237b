"""`python -m tests.benchmarks.secure_sum --json`: what a secret sum costs a member and the server.

Every member and the server run in this process, one after the other, on real keys and masks; each message is packed
and unpacked. `vanished` members send everything but their vector. Seconds are CPU time of one core.
"""

import argparse
import json
import os
import time
from statistics import median
from typing import Any

import numpy as np

from models.secure_sum import messages
from models.secure_sum.collector import Collector
from models.secure_sum.graph import plan
from models.secure_sum.member import Member
from models.secure_sum.ring import Ring

SIZE = 55_000
"""About the shared parameters of `affinity-recent` on MovieLens 100K."""
VANISH, COLLUDE = 0.25, 0.05
"""What the graph must bear, as shares of the members."""


class Watch:
    """CPU seconds and bytes of one party."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sent = self.received = 0

    def __enter__(self) -> None:
        self._from = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._from


def measure(members: int, vanished: float, size: int, seed: int, bits: int = 8) -> dict[str, Any]:
    """One sum: whether it is exact, and what it cost."""
    found = plan(members, VANISH, COLLUDE, 1e-6)
    ring = Ring(bound=1.0, bits=bits, members_max=members)
    dice = np.random.default_rng(seed)
    gone = {int(one) for one in dice.choice(members, round(vanished * members), replace=False)}
    costs, server_cost = [Watch() for _ in range(members)], Watch()
    parties = [Member(one, f"bench:{seed}", os.urandom) for one in range(members)]
    server = Collector(f"bench:{seed}", found, ring, size, seed)

    def say(one: int, message: Any) -> Any:
        packed = messages.pack(message)
        costs[one].sent += len(packed)
        return messages.unpack(packed, type(message))

    def hear(one: int, message: Any) -> Any:
        packed = messages.pack(message)
        costs[one].received += len(packed)
        return messages.unpack(packed, type(message))

    def each(call: Any, who: Any) -> dict[int, Any]:
        answers = {}
        for one in who:
            with costs[one]:
                answers[one] = say(one, call(one))
        return answers

    everyone = range(members)
    keys = each(lambda one: parties[one].keys(), everyone)
    with server_cost:
        told = server.directories(keys)
    shares = each(lambda one: parties[one].shares(hear(one, told[one])), everyone)
    with server_cost:
        passed = server.forwarded(shares)
    expected = np.zeros(size, np.uint64)
    masked = {}
    for one in everyone:
        if one in gone:
            continue
        vector = dice.integers(0, 256, size).astype(np.uint64)
        expected += vector
        with costs[one]:
            masked[one] = say(one, parties[one].masked(hear(one, passed[one]), vector, ring))
    with server_cost:
        arrived = server.arrived(masked)
    revealed = each(lambda one: parties[one].revealed(hear(one, arrived[one])), masked)
    with server_cost:
        total, included = server.total(revealed)
    stayed = [costs[one] for one in masked]
    return {
        "members": members,
        "vanished": len(gone),
        "exact": bool((total == expected).all() and len(included) == members - len(gone)),
        "neighbours": found.degree,
        "threshold": found.threshold,
        "ring_bits": ring.ring_bits,
        "seconds_member": median(cost.seconds for cost in stayed),
        "seconds_server": server_cost.seconds,
        "bytes_sent_member": median(cost.sent for cost in stayed),
        "bytes_received_member": median(cost.received for cost in stayed),
        "ratio_bytes_sent_to_float32": median(cost.sent for cost in stayed) / (4 * size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="*", default=[64, 1_000])
    parser.add_argument("--vanish", type=float, default=0.2, help="share of members that vanish before their vector")
    parser.add_argument("--size", type=int, default=SIZE, help="numbers in a vector")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sums = [measure(members, given.vanish, given.size, given.seed) for members in given.members]
    report = {"size": given.size, "seed": given.seed, "bears": {"vanish": VANISH, "collude": COLLUDE}, "sums": sums}
    if given.json:
        print(json.dumps(report))
        return
    for one in sums:
        print(
            f"{one['members']:>6} members, {one['vanished']} vanished, exact: {one['exact']}; {one['neighbours']} "
            f"neighbours; a member {one['seconds_member']:.3f} s, {one['bytes_sent_member']:,.0f} bytes out "
            f"({one['ratio_bytes_sent_to_float32']:.2f} of float32), {one['bytes_received_member']:,.0f} in; "
            f"server {one['seconds_server']:.2f} s"
        )


if __name__ == "__main__":
    main()
