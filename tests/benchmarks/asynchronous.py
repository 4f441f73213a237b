"""`python -m tests.benchmarks.asynchronous --json`: common rounds beside an asynchronous run, in simulated time.

The clients of `edge-models bench ml-100k`, each with a pace and with hours of its own, from one seed: a training
takes a log-normal time (median 20 s, sigma 0.8), a client is online for an exponential time (mean 30 min) and away for
another (mean 90 min). A client that goes away takes its report with it: in a common round it is lost, in an
asynchronous run it comes when the client does. Both make the same number of steps of the same server (`adam` of
`coordinator.strategies`), each of the same number of reports. The wire costs no time in either.
"""

import argparse
import heapq
import json
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from coordinator.strategies.asynchronous import Staleness, read_staleness
from models import federated, federated_affinity, negatives
from models.bench.ml_100k import measure, summary
from models.federated import Named, bucketed
from models.federated_affinity import Personal, Shared
from models.zoo.affinity_recent import FACTORS
from tests.benchmarks.federation import Trial, trial
from tests.benchmarks.strategies import asked, server_of

TRAINING_S, SIGMA, ONLINE_S, AWAY_S, DEADLINE_S, OVER = 20.0, 0.8, 1_800.0, 5_400.0, 120.0, 1.3
START_S = 1.0
"""From the end of a round to the next one's message."""


@dataclass
class Fleet:
    """The clients: when each is online, how long a training takes, and what it learns."""

    held: Trial
    seed: int
    hours: list[list[float]] = field(default_factory=list)
    """Client → when it comes and goes in turns, s, from 0; even places: it comes."""

    def __post_init__(self) -> None:
        self.dice = np.random.default_rng([self.seed, 1])
        self.pools = [negatives.untouched(self.held.items, one) for one in self.held.question.histories]
        count = len(self.pools)
        self.own = Personal(np.zeros((count, self.held.plan.dimensions), np.float32), np.zeros(count, np.float32))
        for _ in range(count):
            at, turns = -float(self.dice.exponential(AWAY_S + ONLINE_S)), []
            while at < 400_000.0:
                turns += [at, at := at + float(self.dice.exponential(ONLINE_S))]
                at += float(self.dice.exponential(AWAY_S))
            self.hours.append(turns)

    def online(self, now: float) -> list[int]:
        return [n for n, turns in enumerate(self.hours) if bisect_right(turns, now) % 2]

    def next_online(self, client: int, when: float) -> float:
        """`when`, or when the client is back where it is away then."""
        at = bisect_right(self.hours[client], when)
        return when if at % 2 else self.hours[client][at]

    def pace(self) -> float:
        return float(TRAINING_S * np.exp(SIGMA * self.dice.normal()))

    def learn(self, client: int, shared: Shared, number: int) -> tuple[Named, float]:
        """One client's update from these parameters, and its weight."""
        plan, history = self.held.plan, self.held.question.histories[client]
        die = np.random.default_rng([plan.seed, number, client])
        most = plan.interactions_max
        rows = np.arange(len(history)) if len(history) <= most else np.sort(die.choice(len(history), most, False))
        drawn = negatives.draw(self.pools[client], plan.negatives * len(rows), die).reshape(len(rows), -1)
        placed = federated_affinity.layout([history], self.held.items, plan.length, [rows])
        mine = Personal(self.own.user_vector[client : client + 1], self.own.user_bias[client : client + 1])
        update, after, _ = federated_affinity.step(shared, mine, placed, drawn, np.ones(1, np.float32), FACTORS)
        self.own.user_vector[client], self.own.user_bias[client] = after.user_vector[0], after.user_bias[0]
        return _named(update), float(bucketed(len(rows)))


def _named(shared: Shared) -> Named:
    return {name: getattr(shared, name) for name in ("item_embedding", "item_bias", "place_weight")}


def _mean(updates: list[tuple[Named, float, float]]) -> Named:
    """Σ w·s·update / Σ w, as `coordinator.strategies.asynchronous.buffered` has it."""
    total = sum(weight for _, weight, _ in updates)
    return {
        name: np.asarray(sum(one[name] * (w * s / total) for one, w, s in updates), np.float32)
        for name in updates[0][0]
    }


def in_common(fleet: Fleet, rounds: int) -> tuple[Shared, dict[str, float]]:
    """Rounds that wait for enough of those whom they asked."""
    plan = fleet.held.plan
    shared, server, now = federated.start(fleet.held.items, plan), server_of(asked("adam")), 0.0
    used = lost = 0
    for number in range(rounds):
        there = fleet.online(now)
        count = min(len(there), round(plan.cohort * OVER))
        some = fleet.dice.choice(there, count, replace=False).tolist()
        ends = sorted((now + fleet.pace(), client) for client in some)
        came = [(end, c) for end, c in ends if fleet.next_online(c, end) == end and end <= now + DEADLINE_S]
        took = came[: plan.cohort]
        lost += count - len(took)
        full = len(took) == plan.cohort
        now = (took[-1][0] if full else now + DEADLINE_S) + START_S
        if not took:
            continue
        used += len(took)
        updates = [(*fleet.learn(client, shared, number), 1.0) for _, client in took]
        shared = Shared(**server(_named(shared), _mean(updates), 1.0 - number / rounds))
    return shared, {"hours": now / 3_600, "used": used, "lost": lost}


def as_they_come(fleet: Fleet, versions: int, buffer: int, staleness: Staleness) -> tuple[Shared, dict[str, float]]:
    """Everyone who is online and not at work is asked; a report comes when its client is there to send it."""
    shared, server, now = federated.start(fleet.held.items, fleet.held.plan), server_of(asked("adam")), 0.0
    sent: dict[int, tuple[int, Shared]] = {}
    newest: dict[int, int] = {}
    events: list[tuple[float, int]] = []
    number, full, ages = 0, [], []
    while number < versions:
        for client in fleet.online(now):
            if client not in sent and newest.get(client) != number:
                sent[client], newest[client] = (number, shared), number
                heapq.heappush(events, (fleet.next_online(client, now + fleet.pace()), client))
        # Who comes online in between is asked at the next report.
        now, client = heapq.heappop(events)
        version, begun = sent.pop(client)
        update, weight = fleet.learn(client, begun, version)
        ages.append(number - version)
        full.append((update, weight, staleness.weight(number - version)))
        if len(full) == buffer:
            shared = Shared(**server(_named(shared), _mean(full), 1.0 - number / versions))
            number, full = number + 1, []
    return shared, {"hours": now / 3_600, "used": len(ages), "lost": 0, "mean_age": float(np.mean(ages))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--staleness", nargs="*", default=["poly:0.5"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    held = trial(given.ratings, given.seed)
    rows = []
    for name in ("common rounds", *given.staleness):
        fleet = Fleet(held, given.seed)
        if name == "common rounds":
            shared, facts = in_common(fleet, given.rounds)
        else:
            shared, facts = as_they_come(fleet, given.rounds, held.plan.cohort, read_staleness(name))
        scores = federated_affinity.scores(shared, fleet.own, held.question.histories)
        hr10 = summary("", "", [measure(scores, held.question, held.items, given.seed)]).hr10
        rows.append({"run": name, "hr10": hr10, **facts})
    report = {"rounds": given.rounds, "reports": held.plan.cohort, "seed": given.seed, "rows": rows}
    print(json.dumps(report) if given.json else "\n".join(map(str, rows)))


if __name__ == "__main__":
    main()
