"""`python -m tests.benchmarks.poison --json`: HR@10 with a fifth of the clients hostile, by rule of the server.

The same clients are hostile in every round. `flip` sends the opposite of what was learned, ten times as large; `sign`
the opposite at its own length; `scale` its own update ten times as large; `noise` a random direction ten times as long
as its update; `backdoor` pushes one unpopular item for everybody, ten times as long as its update. HR@10 is over the
honest clients; for `backdoor` the share of them that get the item among their first ten of all is printed too.

`--quarantine` looks at the reports as the coordinator does (`coordinator.quarantine`): what does not fit is left out,
who keeps not fitting is not asked again. Printed: the share of honest clients quarantined by the end (over the clean
run that is the false-positive rate), and after how many rounds of its own a hostile client was. `--server plain` adds
the mean update, as the coordinator's federated averaging does: Adam takes the length off whatever one client pushes.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from coordinator import quarantine
from coordinator.quarantine import Claim, Standing, digest_of
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
ATTACKS = ("flip", "sign", "scale", "noise", "backdoor")


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


class Guard:
    """What the coordinator remembers of its nodes; wraps a server so that it sees only reports that fit."""

    def __init__(self, rule: Rule | None, attack: Attack | None, hostile: frozenset[int], seed: int) -> None:
        self._attack, self._rule, self._hostile = attack, rule, hostile
        self._dice = np.random.default_rng(seed)
        self._standing: dict[int, Standing] = {}
        self._direction: NDArray[np.float64] | None = None
        self.after: dict[int, int] = {}
        """Client → rounds of its own after which it was quarantined."""
        self.left_out = 0
        """Reports of honest clients that did not count in their round."""

    def __call__(self, number: int, cohort: I64, updates: Sequence[Named], weight: F32) -> Named:
        """A round, without those that are in quarantine."""
        at = [n for n, one in enumerate(cohort) if int(one) not in self.after]
        sent = [
            self._attack(updates[n], self._dice) if self._attack and int(cohort[n]) in self._hostile else updates[n]
            for n in at
        ]
        rows = np.stack([flat(one) for one in sent])
        claims = [
            Claim(
                node=int(cohort[n]),
                norm=float(np.linalg.norm(row)),
                examples=int(weight[n]),
                digest=digest_of(row),
            )
            for n, row in zip(at, rows, strict=True)
        ]
        found = quarantine.found(claims, rows, self._direction, np.inf, self._standing)
        keep = []
        for n, (claim, findings) in enumerate(zip(claims, found, strict=True)):
            own = quarantine.after(self._standing.get(claim.node, Standing()), claim, findings, "", number)
            self._standing[claim.node] = own
            if own.quarantined:
                self.after[claim.node] = own.rounds
            elif not quarantine.apart(findings):
                keep.append(n)
            self.left_out += int(claim.node not in self._hostile and keep[-1:] != [n])
        self._direction = quarantine.direction_after(self._direction, rows[keep])
        kept = [sent[n] for n in keep]
        if self._rule is None:
            return plain(number, cohort, kept, weight[np.array(at)[keep]])
        return shaped(combine(self._rule, rows[keep], SHARE).update, sent[0])

    def told(self, clients: int) -> dict[str, object]:
        """Who was quarantined, and how soon."""
        caught = sorted(rounds for one, rounds in self.after.items() if one in self._hostile)
        honest = sum(one not in self._hostile for one in self.after)
        return {
            "honest_quarantined": honest,
            "honest_quarantined_share": honest / (clients - len(self._hostile)),
            "honest_reports_left_out": self.left_out,
            "hostile_quarantined": len(caught),
            "rounds_until_quarantined_median": float(np.median(caught)) if caught else None,
            "rounds_until_quarantined_max": caught[-1] if caught else None,
        }


def hit_rate(scores: F32, held: Trial, honest: NDArray[np.bool_]) -> float:
    """HR@10 of the honest clients, percent."""
    found = measure(scores, held.question, held.items, held.plan.seed)
    return 100.0 * float(evaluate.hit_rate(found.sampled[honest]))


def pushed(scores: F32, item: int, honest: NDArray[np.bool_]) -> float:
    """Share of the honest clients that get the item among their first ten of all, percent."""
    own = scores[:, item : item + 1]
    return 100.0 * float(((scores > own).sum(axis=1) < 10)[honest].mean())


def sign(update: Named, _dice: np.random.Generator) -> Named:
    """The opposite of what was learned, no longer than it."""
    return {name: np.asarray(-value, np.float32) for name, value in update.items()}


def scale(update: Named, _dice: np.random.Generator) -> Named:
    """What was learned, ten times."""
    return {name: np.asarray(TIMES * value, np.float32) for name, value in update.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--participations", type=int, default=20, help="rounds in which each client takes part")
    parser.add_argument("--rules", nargs="*", choices=RULES, default=["norm-median", "multi-krum", "trimmed", "median"])
    parser.add_argument("--attacks", nargs="*", choices=ATTACKS, default=["flip", "noise", "backdoor"])
    parser.add_argument("--server", choices=["adam", "plain"], default="adam")
    parser.add_argument("--server-lr", type=float, default=400.0, help="with --server plain")
    parser.add_argument("--quarantine", action="store_true", help="each server also with quarantine")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    held = trial(given.ratings, given.seed, given.participations)
    plan = held.plan
    if given.server == "plain":
        plan = replace(plan, server="plain", server_lr=given.server_lr)
    clients = len(held.question.users)
    drawn = np.random.default_rng(given.seed).choice(clients, round(SHARE * clients), replace=False)
    hostile, honest = frozenset(drawn.tolist()), np.ones(clients, np.bool_)
    honest[drawn] = False
    popular = np.bincount(np.concatenate(held.question.histories), minlength=held.items)
    item = int(np.flatnonzero(popular == np.sort(popular)[held.items // 4])[0])
    known: dict[str, Attack] = {"flip": flip, "sign": sign, "scale": scale, "noise": noise}
    known["backdoor"] = backdoor_on(item)
    attacks: dict[str, Attack | None] = {"none": None, **{name: known[name] for name in given.attacks}}
    clean = held.scores(None, plan, name="clean, mean")
    rows: list[dict[str, object]] = [{"attack": "none", "rule": "mean", "hr10": hit_rate(clean, held, honest)}]
    for name, attack in attacks.items():
        for rule in (None, *given.rules):
            for guarded in (False, True)[: 1 + given.quarantine]:
                if (attack, rule, guarded) == (None, None, False):
                    continue
                called = f"{rule or 'mean'}{' + quarantine' if guarded else ''}"
                bad = hostile if attack else frozenset[int]()
                guard = Guard(rule, attack, bad, given.seed)
                taken = guard if guarded else server(rule, attack, hostile, given.seed)
                scores = held.scores(taken, plan, name=f"{name}, {called}")
                row: dict[str, object] = {"attack": name, "rule": called, "hr10": hit_rate(scores, held, honest)}
                if guarded:
                    row |= guard.told(clients)
                if name == "backdoor":
                    row["pushed"] = pushed(scores, item, honest)
                rows.append(row)
    for row in rows:
        row["ratio_to_clean"] = float(row["hr10"]) / float(rows[0]["hr10"])  # type: ignore[arg-type]
    report = {"hostile": len(hostile), "clients": clients, "seed": given.seed, "server": given.server, "rows": rows}
    report["pushed_when_clean"] = pushed(clean, item, honest)
    print(json.dumps(report) if given.json else "\n".join(map(_line, rows)))


def _line(row: dict[str, object]) -> str:
    more = f"  pushed to {row['pushed']:.1f} %" if "pushed" in row else ""
    if "hostile_quarantined" in row:
        more += (
            f"  quarantined: {row['hostile_quarantined']} hostile after {row['rounds_until_quarantined_median']} rounds"
            f", {row['honest_quarantined']} honest"
        )
    return f"{row['attack']:<10} {row['rule']:<24} HR@10 {row['hr10']:6.2f} ({row['ratio_to_clean']:.3f}){more}"


if __name__ == "__main__":
    main()
