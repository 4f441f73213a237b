"""`python -m tests.benchmarks.personalised --json`: HR@10 on MovieLens 100K of FedRep, Ditto, SCAFFOLD and IFCA.

The clients and the protocol of `edge-models bench ml-100k` (943 people; the last item of each among 99). All strategies
go on from one parent, as rounds do: `--parent` participations of the bench's own training, with Adam. Then each client
takes part `--participations` times, in cohorts of 48, with `--steps` local steps each time, and the server is
`coordinator.strategies` with its defaults. What a client does is what `edge_agent/learn` does, a step at a time, with
the arithmetic of `models.federated_affinity`:

- `fedavg`: shared and personal part together.
- `fedrep`: as many steps of the personal part first, then of the shared part alone.
- `ditto`: the shared part alone; and a copy of it for each person, trained with the personal part and pulled to what
  the round sent. The person is served by the copy.
- `scaffold`: as fedavg, each step corrected by the control variates.
- `ifca`: two models; each client trains the one with the smaller loss on its own batch, and is served by that.

One seed unless more are asked for; no rate was searched on the measured item, nor on any other.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from coordinator.aggregate import Report
from coordinator.strategies.clusters import models_of
from coordinator.strategies.combine import Occasion, combine
from coordinator.strategies.scaffold import control_of
from coordinator.strategies.settings import Strategy, chosen
from edge_agent.learn.personalised import correction_of, next_control
from models import federated, federated_affinity, negatives
from models.bench.ml_100k import measure, summary
from models.federated import Named, bucketed
from models.federated_affinity import Personal, Shared
from models.zoo.affinity_recent import FACTORS
from tests.benchmarks.federation import Trial, trial

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
NAMES = ("fedavg", "fedrep", "ditto", "scaffold", "ifca")
FIELDS = ("item_embedding", "item_bias", "place_weight")
ALONE = np.ones(1, np.float32)


def named(shared: Shared) -> Named:
    """The shared part by name."""
    return {name: getattr(shared, name) for name in FIELDS}


@dataclass
class Clients:
    """Every client's side: its history, and what stays with it."""

    held: Trial
    own: Personal
    copies: dict[int, Named] = field(default_factory=dict)
    controls: dict[int, Named] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.histories: Sequence[I64] = self.held.question.histories
        self.pools = [negatives.untouched(self.held.items, one) for one in self.histories]

    def mine(self, one: int) -> Personal:
        """A client's personal part."""
        return Personal(self.own.user_vector[one : one + 1].copy(), self.own.user_bias[one : one + 1].copy())

    def keep(self, one: int, mine: Personal) -> None:
        """Hold on to a client's personal part."""
        self.own.user_vector[one], self.own.user_bias[one] = mine.user_vector[0], mine.user_bias[0]

    def step(self, one: int, shared: Named, mine: Personal, dice: np.random.Generator) -> tuple[Named, Personal, float]:
        """One local step: the change of the shared part, the personal part after it, and the loss before."""
        plan, history = self.held.plan, self.histories[one]
        rows = np.arange(len(history))
        if len(rows) > plan.interactions_max:
            rows = np.sort(dice.choice(len(rows), plan.interactions_max, replace=False))
        drawn = negatives.draw(self.pools[one], plan.negatives * len(rows), dice).reshape(len(rows), -1)
        placed = federated_affinity.layout([history], self.held.items, plan.length, [rows])
        change, after, loss = federated_affinity.step(Shared(**shared), mine, placed, drawn, ALONE, FACTORS)
        return named(change), after, float(loss[0])


def moved(shared: Named, change: Named, more: Named | None = None, factor: float = 0.0) -> Named:
    """The shared part after a step, less `factor` times `more`."""
    found = {name: value + change[name] for name, value in shared.items()}
    if more is not None:
        found = {name: np.asarray(value - np.float32(factor) * more[name], np.float32) for name, value in found.items()}
    return found


def together(clients: Clients, one: int, shared: Named, steps: int, dice: np.random.Generator) -> Named:
    """Shared and personal part together; returns the shared part."""
    mine = clients.mine(one)
    for _ in range(steps):
        change, mine, _ = clients.step(one, shared, mine, dice)
        shared = moved(shared, change)
    clients.keep(one, mine)
    return shared


def alternating(clients: Clients, one: int, shared: Named, steps: int, dice: np.random.Generator) -> Named:
    """FedRep: the personal part, then the shared part."""
    mine = clients.mine(one)
    for _ in range(steps):
        _, mine, _ = clients.step(one, shared, mine, dice)
    clients.keep(one, mine)
    return alone(clients, one, shared, steps, dice)


def alone(clients: Clients, one: int, shared: Named, steps: int, dice: np.random.Generator) -> Named:
    """The shared part, the personal part held."""
    mine = clients.mine(one)
    for _ in range(steps):
        shared = moved(shared, clients.step(one, shared, mine, dice)[0])
    return shared


def copied(clients: Clients, one: int, sent: Named, steps: int, pull: float, dice: np.random.Generator) -> None:
    """Ditto's own copy."""
    copy, mine = clients.copies.get(one, sent), clients.mine(one)
    for _ in range(steps):
        change, mine, _ = clients.step(one, copy, mine, dice)
        copy = moved(copy, change)
        copy = moved(
            copy, dict.fromkeys(copy, np.float32(0.0)), {n: copy[n] - sent[n] for n in copy}, FACTORS.lr * pull
        )
    clients.copies[one] = copy
    clients.keep(one, mine)


def corrected(clients: Clients, one: int, sent: Named, control: Named, steps: int, dice: np.random.Generator) -> Named:
    """SCAFFOLD."""
    correction = correction_of(control, clients.controls.get(one, {}))
    shared, mine = sent, clients.mine(one)
    for _ in range(steps):
        change, mine, _ = clients.step(one, shared, mine, dice)
        shared = moved(shared, change, correction, FACTORS.lr)
    clients.keep(one, mine)
    update = {name: shared[name] - sent[name] for name in sent}
    clients.controls[one] = next_control(clients.controls.get(one, {}), control, update, steps, FACTORS.lr)
    return shared


def best_of(clients: Clients, one: int, models: Sequence[Named], seed: Sequence[int]) -> int:
    """IFCA: the model with the smallest loss on the same batch."""
    mine = clients.mine(one)
    losses = [clients.step(one, model, mine, np.random.default_rng(list(seed)))[2] for model in models]
    return int(np.argmin(losses))


def run(strategy: Strategy, held: Trial, parent: tuple[Shared, Personal], given: argparse.Namespace, seed: int) -> F32:
    """Every person's scores after the rounds, (clients, items)."""
    shared, own = parent
    clients = Clients(held, Personal(own.user_vector.copy(), own.user_bias.copy()))
    now, state, steps = named(shared), {}, given.steps
    count = len(clients.histories)
    dice = np.random.default_rng([seed, 9])
    rounds = held.plan.rounds(count) // held.plan.participations * given.participations
    order = [
        part
        for _ in range(given.participations)
        for part in np.array_split(dice.permutation(count), -(-count // held.plan.cohort))
    ]
    for number, cohort in enumerate(order, 1):
        models = [now]
        if strategy.preset.device == "ifca":
            models = models_of(state, now, int(strategy["clusters"]), strategy["spread"], seed)
        reports = []
        for one in cohort.tolist():
            die, at = np.random.default_rng([seed, number, one]), 0
            match strategy.preset.device:
                case "alternate":
                    after = alternating(clients, one, now, steps, die)
                case "ditto":
                    after = alone(clients, one, now, steps, die)
                    copied(clients, one, now, steps, strategy["pull"], die)
                case "scaffold":
                    after = corrected(clients, one, now, control_of(state, now), steps, die)
                case "ifca":
                    at = best_of(clients, one, models, [seed, number, one, 1])
                    after = together(clients, one, models[at], steps, die)
                case _:
                    after = together(clients, one, now, steps, die)
            reports.append(_report(after, models[at], at, len(clients.histories[one])))
        occasion = Occasion(number=number, rounds=rounds, lr=FACTORS.lr, devices=count, seed=seed)
        now, state = combine(strategy, now, reports, state, occasion)
        if number % 20 == 0:
            print(f"{strategy.name}: round {number} of {len(order)}", file=sys.stderr)
    return _scores(strategy, clients, now, state, seed)


def _report(after: Named, before: Named, cluster: int, examples: int) -> Report:
    delta: dict[str, Any] = {name: after[name] - before[name] for name in before}
    return Report(
        delta=delta,
        scales=dict.fromkeys(delta, 1.0),
        examples=bucketed(examples),
        loss_before=0.0,
        loss_after=0.0,
        cluster=cluster,
    )


def _scores(strategy: Strategy, clients: Clients, now: Named, state: Any, seed: int) -> F32:
    """By what each person is served with."""
    if strategy.preset.device not in {"ditto", "ifca"}:
        return federated_affinity.scores(Shared(**now), clients.own, clients.histories)
    models = [now]
    if strategy.preset.device == "ifca":
        models = models_of(state, now, int(strategy["clusters"]), strategy["spread"], seed)
    found = []
    for one, history in enumerate(clients.histories):
        at = best_of(clients, one, models, [seed, 0, one, 2]) if len(models) > 1 else 0
        mine = clients.copies.get(one, models[at])
        found.append(federated_affinity.scores(Shared(**mine), clients.mine(one), [history])[0])
    return np.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--parent", type=int, default=4, help="participations of each client in the parent's training")
    parser.add_argument("--participations", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="local steps a participation")
    parser.add_argument("--strategies", nargs="*", default=list(NAMES))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    hr10: dict[str, list[float]] = {"parent": [], **{name: [] for name in given.strategies}}
    for seed in range(given.seeds):
        held = trial(given.ratings, seed)
        begun = replace(held.plan, participations=given.parent)
        start = federated.start(held.items, begun)
        parent = federated.train(held.question.histories, held.items, begun, start, FACTORS)

        def told(scores: F32, held: Trial = held, seed: int = seed) -> float:
            return summary("", "ours", [measure(scores, held.question, held.items, seed)]).hr10

        hr10["parent"].append(told(federated_affinity.scores(*parent, held.question.histories)))
        for name in given.strategies:
            options = {"steps": float(given.steps)} if name == "scaffold" else {}
            hr10[name].append(told(run(chosen(name, options), held, parent, given, seed)))
            print(f"seed {seed}: {name} {hr10[name][-1]:.2f}", file=sys.stderr)
    rows = {name: {"hr10": float(np.mean(found)), "by_seed": found} for name, found in hr10.items()}
    asked = {"seeds": given.seeds, "participations": given.participations, "steps": given.steps}
    report = {"rows": rows, **asked, "parent_participations": given.parent, "clients": len(held.question.users)}
    print(json.dumps(report) if given.json else "\n".join(f"{n:<9} {row['hr10']:6.2f}" for n, row in rows.items()))


if __name__ == "__main__":
    main()
