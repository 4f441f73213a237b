"""`python -m tests.benchmarks.strategies --json`: HR@10 on MovieLens 100K of the coordinator's own strategies.

The clients, their steps and the protocol are those of `edge-models bench ml-100k`; what differs is the server, which is
`coordinator.strategies` instead of the bench's own Adam. `adam` must give what the bench gives. With
`--participations 4` there are 80 rounds instead of 400: the figures say which server gets how far in few rounds, not
what each can reach. Only servers are compared: the clients' personal parts are trained with the shared part.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coordinator.rule_names import RULES
from coordinator.strategies.optimisers import State, moved
from coordinator.strategies.settings import Strategy, chosen, read_options
from models.federated import Combine, Named, Server
from tests.benchmarks.federation import flat, shaped, trial

DEFAULT = (
    "adam",
    "fedadam:server_lr=0.01,tau=1e-8",
    "fedadam",
    "fedyogi:server_lr=0.01,tau=1e-6",
    "fedyogi",
    "fedadagrad:server_lr=0.03,tau=1e-6",
    "fedadagrad",
    "fedavgm",
    "fedavg",
)


def asked(word: str) -> Strategy:
    """`NAME:KEY=VALUE,…`."""
    name, _, options = word.partition(":")
    return chosen(name, read_options(tuple(options.split(","))) if options else {})


def server_of(strategy: Strategy) -> Server:
    """The strategy's optimiser with its memory."""
    state: State = {}

    def take(values: Named, update: Named, ahead: float) -> Named:
        nonlocal state
        step = {name: value.astype(np.float64) for name, value in update.items()}
        after, state = moved(strategy, values, step, state, 1.0 - ahead)
        return after

    return take


def combine_of(strategy: Strategy) -> Combine | None:
    """Its way from many updates to one, where that is no mean."""
    rule = next((one for one in RULES if one == strategy.preset.rule), None)
    if rule is None:
        return None
    from coordinator import robust

    def take(_number: int, _cohort: NDArray[np.int64], updates: Sequence[Named], _weight: object) -> Named:
        rows = np.stack([flat(one) for one in updates])
        return shaped(robust.combine(rule, rows, strategy["hostile_share"]).update, updates[0])

    return take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--participations", type=int, default=4, help="rounds in which each client takes part")
    parser.add_argument("--strategies", nargs="*", default=list(DEFAULT), help="NAME:KEY=VALUE,…")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    held = trial(given.ratings, given.seed, given.participations)
    clients = len(held.question.users)
    rows = [{"strategy": "the bench's Adam", "hr10": held.hr10(None, name="bench")}]
    for word in given.strategies:
        strategy = asked(word)
        hr10 = held.hr10(combine_of(strategy), name=word, server=server_of(strategy))
        rows.append({"strategy": word, "hr10": hr10})
    report = {
        "clients": clients,
        "rounds": held.plan.rounds(clients),
        "cohort": held.plan.cohort,
        "seed": given.seed,
        "rows": rows,
    }
    print(json.dumps(report) if given.json else "\n".join(f"{r['strategy']:<36} {r['hr10']:6.2f}" for r in rows))


if __name__ == "__main__":
    main()
