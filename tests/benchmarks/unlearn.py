"""`python -m tests.benchmarks.unlearn --json`: what is left of clients that withdrew, by way of forgetting them.

A tenth of the MovieLens 100K clients (F) take part and then withdraw; another tenth (N) never take part. The model is
`affinity-recent`, trained as `edge-models bench ml-100k` trains it, on all but N. Then, on its shared part:

- `kept`: nothing is done; F is only not asked any more, which is what withdrawal without unlearning amounts to.
- `others`: the rest train on, `--recover` participations each.
- `ascent`: each of F sends one last update, `--steps` steps up its own loss, as `edge_agent.learn.unlearning` makes it
  and clipped as it clips; the coordinator adds their sum.
- `ascent, others`: the same, and then the rest train on.
- `retrained`: trained from the start without F. Exact, and what the others are compared with.

Printed for each: HR@10 of F and of the rest with no personal part (it is destroyed), and the AUC with which F is told
from N by the loss on their histories, plain and less the loss under a reference model that saw neither (Watson et al.
2022, "On the Importance of Difficulty Calibration in Membership Inference Attacks"). 0.5: nobody can tell; with so few
clients an AUC of one seed is uncertain by 0.04.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_agent.learn.unlearning import last_update
from models import evaluate, federated, federated_affinity, negatives
from models.bench.ml_100k import measure
from models.federated import Plan
from models.federated_affinity import Personal, Shared
from models.zoo.affinity_recent import FACTORS
from tests.benchmarks.federation import Trial, trial

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
NOBODY = np.zeros(0, np.int64)
NAMES = ("item_embedding", "item_bias", "place_weight")


class World:
    """One seed's clients: who withdraws, who was never there, and the rest."""

    def __init__(self, held: Trial, share: float) -> None:
        self.held, self.seed = held, held.plan.seed
        count = len(held.question.users)
        order = np.random.default_rng([self.seed, 7]).permutation(count)
        size = round(share * count)
        self.gone, self.never, self.rest = order[:size], order[size : 2 * size], order[2 * size :]

    def histories(self, *there: I64) -> list[I64]:
        """Everyone's history; nothing for those who do not take part."""
        inside = np.zeros(len(self.held.question.users), np.bool_)
        for some in there:
            inside[some] = True
        return [one if here else NOBODY for one, here in zip(self.held.question.histories, inside, strict=True)]

    def train(self, start: Shared | None, plan: Plan, *there: I64) -> Shared:
        """The shared part after training with these clients."""
        begin = start or federated.start(self.held.items, plan)
        shared, _ = federated.train(self.histories(*there), self.held.items, plan, begin, FACTORS)
        return shared

    def losses(self, shared: Shared, who: I64) -> NDArray[np.float64]:
        """Each client's mean loss over its history with no personal part, nats; the same negatives each time."""
        found = []
        for one in who:
            step = self.step(shared, one, np.random.default_rng([self.seed, int(one), 11]))
            found.append(float(step[1]))
        return np.array(found)

    def step(self, shared: Shared, one: int, dice: np.random.Generator) -> tuple[dict[str, F32], float]:
        """One step of a client down its loss, from no personal part: its change of each parameter, and the loss."""
        plan, history = self.held.plan, self.held.question.histories[one]
        rows = np.arange(len(history))
        pool = negatives.untouched(self.held.items, history)
        drawn = negatives.draw(pool, plan.negatives * len(rows), dice).reshape(len(rows), -1)
        placed = federated_affinity.layout([history], self.held.items, plan.length, [rows])
        blank = _blank(1, plan.dimensions)
        change, _, loss = federated_affinity.step(shared, blank, placed, drawn, np.ones(1, np.float32), FACTORS)
        return {name: getattr(change, name) for name in NAMES}, float(loss[0])

    def ascended(self, shared: Shared, steps: int, rate: float, clip: float) -> Shared:
        """The shared part with the last updates of those who withdraw added."""
        total = {name: np.zeros_like(getattr(shared, name)) for name in NAMES}
        for one in self.gone:
            dice = np.random.default_rng([self.seed, int(one), 13])

            def down(now: dict[str, F32], one: int = one, dice: np.random.Generator = dice) -> dict[str, F32]:
                change, _ = self.step(Shared(**now), one, dice)
                return {name: np.asarray(now[name] + rate * value, np.float32) for name, value in change.items()}

            made = last_update({name: getattr(shared, name) for name in NAMES}, down, steps, clip)
            for name, value in made.items():
                total[name] += value.astype(np.float32)
        return Shared(**{name: getattr(shared, name) + total[name] for name in NAMES})

    def told(self, shared: Shared, reference: Shared) -> dict[str, float]:
        """The measures of one model."""
        clients = len(self.held.question.users)
        scores = federated_affinity.scores(
            shared, _blank(clients, self.held.plan.dimensions), self.held.question.histories
        )
        hits = measure(scores, self.held.question, self.held.items, self.seed).sampled
        inside, outside = self.losses(shared, self.gone), self.losses(shared, self.never)
        easier = inside - self.losses(reference, self.gone)
        easier_outside = outside - self.losses(reference, self.never)
        return {
            "hr10_gone": 100.0 * float(evaluate.hit_rate(hits[self.gone])),
            "hr10_rest": 100.0 * float(evaluate.hit_rate(hits[self.rest])),
            "hr10_never": 100.0 * float(evaluate.hit_rate(hits[self.never])),
            "loss_gone": float(inside.mean()),
            "auc": auc(-inside, -outside),
            "auc_calibrated": auc(-easier, -easier_outside),
        }


def auc(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    """The chance that one of the first scores above one of the second."""
    return float(((inside[:, None] > outside[None]) + 0.5 * (inside[:, None] == outside[None])).mean())


def _blank(clients: int, dimensions: int) -> Personal:
    return Personal(np.zeros((clients, dimensions), np.float32), np.zeros(clients, np.float32))


def one_seed(held: Trial, given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Every way, measured."""
    world, plan = World(held, given.share), held.plan
    _say(f"seed {plan.seed}: trains with those who will withdraw")
    whole = world.train(None, plan, world.gone, world.rest)
    _say("trains from the start without them, and a reference")
    exact = world.train(None, plan, world.rest)
    other = replace(plan, seed=plan.seed + 500)
    reference = world.train(None, other, world.rest)
    # A fresh Adam's first steps are as long as its rate: as slow as the training's last ones were on average.
    more = replace(plan, participations=given.recover, server_lr=plan.server_lr * given.recover_rate)
    _say("unlearns")
    up = world.ascended(whole, given.steps, given.rate, given.clip_norm)
    ways = {
        "kept": whole,
        "others": world.train(whole, more, world.rest),
        "ascent": up,
        "ascent, others": world.train(up, more, world.rest),
        "retrained": exact,
    }
    return {name: world.told(shared, reference) for name, shared in ways.items()}


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.1, help="of the clients that withdraw")
    parser.add_argument("--participations", type=int, default=0, help="of each client; 0: the benchmark's own")
    parser.add_argument("--steps", type=int, default=12, help="up its own loss, of each last update")
    parser.add_argument("--rate", type=float, default=1.0, help="of these steps, in units of the training's own")
    parser.add_argument("--clip-norm", type=float, default=1.0, help="of a last update")
    parser.add_argument("--recover", type=int, default=2, help="rounds of each of the rest afterwards")
    parser.add_argument("--recover-rate", type=float, default=0.5, help="of the server then, in units of its own")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(words)


def main() -> None:
    given = arguments()
    seeds = [one_seed(trial(given.ratings, seed, given.participations), given) for seed in range(given.seeds)]
    ways = {way: {name: mean(one[way][name] for one in seeds) for name in seeds[0][way]} for way in seeds[0]}
    report = {
        "ways": ways,
        "seeds": seeds,
        **{k: v for k, v in vars(given).items() if k not in {"json", "ratings", "seeds"}},
    }
    print(json.dumps(report) if given.json else "\n".join(_line(*pair) for pair in ways.items()))


def _line(way: str, found: dict[str, float]) -> str:
    return f"{way:<16} " + "  ".join(f"{name} {value:.3f}" for name, value in found.items())


if __name__ == "__main__":
    main()
