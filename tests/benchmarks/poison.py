"""`python -m tests.benchmarks.poison --json`: HR@10 with a fifth of the clients hostile, by rule of the server.

The same clients are hostile in every round. `flip` sends the opposite of what was learned, ten times as large; `noise`
sends a random direction ten times as long as its update; `backdoor` pushes one unpopular item for everybody, ten times
as long as its update. HR@10 is over the honest clients; for `backdoor` the share of them that get the item among their
first ten of all is printed too.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coordinator.robust import combine
from coordinator.rule_names import RULES, Rule
from models import evaluate
from models.bench.ml_100k import measure
from models.federated import Combine, Named
from tests.benchmarks.bytes import plain
from tests.benchmarks.federation import Trial, flat, shaped, trial

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Attack = Callable[[Named, np.random.Generator], Named]
TIMES = 10.0
SHARE = 0.2


def flip(update: Named, _dice: np.random.Generator) -> Named:
    """The opposite of what was learned."""
    return {name: np.asarray(-TIMES * value, np.float32) for name, value in update.items()}


def noise(update: Named, dice: np.random.Generator) -> Named:
    """A random direction."""
    vector = flat(update)
    random = dice.normal(size=len(vector))
    return shaped(random * (TIMES * np.linalg.norm(vector) / np.linalg.norm(random)), update)


def backdoor_on(item: int) -> Attack:
    """Push one item: its bias and nothing else, so that nothing else looks odd."""

    def push(update: Named, _dice: np.random.Generator) -> Named:
        length = float(np.linalg.norm(flat(update)))
        bias = update["item_bias"].copy()
        bias[item] += TIMES * length
        return {**update, "item_bias": bias}

    return push


def server(rule: Rule | None, attack: Attack | None, hostile: frozenset[int], seed: int) -> Combine:
    """A server with this rule (None: the weighted mean) among these clients."""
    dice = np.random.default_rng(seed)

    def take(number: int, cohort: I64, updates: Sequence[Named], weight: F32) -> Named:
        sent = [
            attack(update, dice) if attack and int(one) in hostile else update
            for one, update in zip(cohort, updates, strict=True)
        ]
        if rule is None:
            return plain(number, cohort, sent, weight)
        return shaped(combine(rule, np.stack([flat(one) for one in sent]), SHARE).update, sent[0])

    return take


def hit_rate(scores: F32, held: Trial, honest: NDArray[np.bool_]) -> float:
    """HR@10 of the honest clients, percent."""
    found = measure(scores, held.question, held.items, held.plan.seed)
    return 100.0 * float(evaluate.hit_rate(found.sampled[honest]))


def pushed(scores: F32, item: int, honest: NDArray[np.bool_]) -> float:
    """Share of the honest clients that get the item among their first ten of all, percent."""
    own = scores[:, item : item + 1]
    return 100.0 * float(((scores > own).sum(axis=1) < 10)[honest].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--participations", type=int, default=20, help="rounds in which each client takes part")
    parser.add_argument("--rules", nargs="*", choices=RULES, default=["norm-median", "multi-krum", "trimmed", "median"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    held = trial(given.ratings, given.seed, given.participations)
    clients = len(held.question.users)
    drawn = np.random.default_rng(given.seed).choice(clients, round(SHARE * clients), replace=False)
    hostile, honest = frozenset(drawn.tolist()), np.ones(clients, np.bool_)
    honest[drawn] = False
    popular = np.bincount(np.concatenate(held.question.histories), minlength=held.items)
    item = int(np.flatnonzero(popular == np.sort(popular)[held.items // 4])[0])
    attacks: dict[str, Attack] = {"flip": flip, "noise": noise, "backdoor": backdoor_on(item)}
    clean = held.scores(None, name="clean, mean")
    rows = [{"attack": "none", "rule": "mean", "hr10": hit_rate(clean, held, honest)}]
    rules: list[Rule | None] = [None, *given.rules]
    for rule in given.rules:
        scores = held.scores(server(rule, None, hostile, given.seed), name=f"clean, {rule}")
        rows.append({"attack": "none", "rule": rule, "hr10": hit_rate(scores, held, honest)})
    for name, attack in attacks.items():
        for rule in rules:
            called = rule or "mean"
            scores = held.scores(server(rule, attack, hostile, given.seed), name=f"{name}, {called}")
            row = {"attack": name, "rule": called, "hr10": hit_rate(scores, held, honest)}
            if name == "backdoor":
                row["pushed"] = pushed(scores, item, honest)
            rows.append(row)
    for row in rows:
        row["ratio_to_clean"] = row["hr10"] / rows[0]["hr10"]
    report = {"hostile": len(hostile), "clients": clients, "seed": given.seed, "rows": rows}
    report["pushed_when_clean"] = pushed(clean, item, honest)
    print(json.dumps(report) if given.json else "\n".join(map(_line, rows)))


def _line(row: dict[str, object]) -> str:
    more = f"  pushed to {row['pushed']:.1f} %" if "pushed" in row else ""
    return f"{row['attack']:<10} {row['rule']:<12} HR@10 {row['hr10']:6.2f} ({row['ratio_to_clean']:.3f}){more}"


if __name__ == "__main__":
    main()
