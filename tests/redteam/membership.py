"""Was this person in the round, in the run? Was this interaction learned from? Asked of what a run releases.

A run has half of all people in its population (the members) and asks each of them in each round by a coin of rate q.
What is attacked is what everybody gets to see: each round's average update (two versions of the model differ by it),
and the model after the last round. With privacy on, it is what the coordinator's own rule makes of the updates: each
clipped, Gaussian noise on their sum, fixed denominator.

Attacks:
    asked: who knows all that a person's device holds, except the negatives that it drew and the personal part, computes
        that person's update for each round and takes its inner product with the released one, after everyone's average
        update is taken out of both. Who was asked in a round should score higher than who was not.
    population: the same scores, added up over all rounds: members against people outside.
    interaction: how much the released updates raise the bias of something that a member's device learned from,
        against something that the same person touched as well and the device never had.
    model: the loss of the last model on a person's items, less the loss of a model of the other half of the people
        (one shadow model, as the offline attack of Carlini et al. 2022 with difficulty calibration of Watson et al.
        2022): members against people outside; and items in against items out, of members.

Sources: Shokri et al. 2017; Nasr, Shokri, Houmansadr 2019 (federated, passive); Carlini et al. 2022 (LiRA).
"""

from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator.accountant import Budget, Spend, epsilon, noise_for
from models import federated
from models.federated import Adam, Named, Plan
from models.federated_affinity import Shared
from models.zoo.affinity_recent import FACTORS
from tests.benchmarks.private import gaussian
from tests.redteam.people import People, auc, flat, update_of

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
RATE, DELTA = 0.5, 1e-5


class Release(NamedTuple):
    """One round as it can be seen from outside, and who was asked, which cannot."""

    before: Shared
    update: Named
    asked: I64
    """People."""


class Guessed(Struct, frozen=True):
    """AUC of each attack; 0.5 is guessing."""

    asked: float
    population: float
    interaction: float
    model_population: float
    model_interaction: float


def run(
    people: People, members: I64, plan: Plan, clip: float, noise: float, draw: int = 11
) -> tuple[list[Release], Shared]:
    """A whole run over the members; `clip` infinite and `noise` 0: without privacy.

    Args:
        draw: seeds the noise. Two runs with the same noise differ by their people alone: no attack on the defence.
    """
    releases: list[Release] = []
    cohorts: list[I64] = []
    private = gaussian(clip, noise, plan.cohort, plan.seed + draw)
    adam = Adam(plan.server_lr)

    def combine(number: int, cohort: I64, updates: list[Named], weight: F32) -> Named:  # type: ignore[type-arg]
        cohorts.append(members[cohort])
        if np.isfinite(clip):
            return private(number, cohort, updates, weight)
        return {name: np.mean([one[name] for one in updates], axis=0, dtype=np.float32) for name in updates[0]}

    def server(values: Named, update: Named, share: float) -> Named:
        releases.append(Release(Shared(**values), update, cohorts[-1]))
        return adam(values, update, share)

    histories = [people.learned[n] for n in members]
    began = federated.start(people.items, plan)
    last, _ = federated.train(histories, people.items, plan, began, FACTORS, None, combine, server)  # type: ignore[arg-type]
    return releases, last


def scores(people: People, targets: I64, releases: list[Release], plan: Plan) -> F64:
    """The inner product of each round's update with each target's own, in units of its length; (rounds, targets)."""
    inner = np.zeros((len(releases), len(targets)))
    for number, release in enumerate(releases):
        dices = [np.random.default_rng([plan.seed, 9, number, int(n)]) for n in targets]
        guessed = [
            update_of(release.before, people.learned[n], people.items, plan, dice)
            for n, dice in zip(targets, dices, strict=True)
        ]
        own = np.stack([flat(one) for one in guessed])
        seen, middle = flat(release.update), own.mean(0)
        seen = seen - (seen @ middle) / (middle @ middle) * middle
        own = own - middle
        inner[number] = own @ seen / np.maximum((own * own).sum(1), 1e-30)
    return inner


def losses(shared: Shared, people: People, person: int) -> tuple[F64, F64]:
    """Loss in nats of a person's items in and out, without the personal part, which nobody else has."""
    learned, length = people.learned[person], len(shared.place_weight)
    recent = learned[-length:]
    query = (shared.item_embedding[recent] * shared.place_weight[-len(recent) :]).sum(0)

    def of(items: I64) -> F64:
        logit = shared.item_embedding[items] @ query + shared.item_bias[items]
        return np.logaddexp(0.0, -logit).astype(np.float64)

    return of(learned), of(people.kept_out[person])


def attack_run(people: People, plan: Plan, clip: float, noise: float, targets: int) -> Guessed:
    """Run both halves, attack the first one's releases and model."""
    dice = np.random.default_rng([plan.seed, 10])
    halves = np.array_split(dice.permutation(len(people.learned)), 2)
    members, outside = (np.sort(half) for half in halves)
    releases, model = run(people, members, plan, clip, noise)
    _, other = run(people, outside, plan, clip, noise, 12)
    chosen = np.concatenate([members[:targets], outside[:targets]])
    inside = np.isin(chosen, members)
    inner = scores(people, chosen, releases, plan)
    asked = [
        auc(row[inside & np.isin(chosen, one.asked)], row[inside & ~np.isin(chosen, one.asked)])
        for row, one in zip(inner - inner.mean(0), releases, strict=True)
    ]
    total = inner.sum(0)
    raised = np.sum([one.update["item_bias"] for one in releases], axis=0)
    inside_items, outside_items = (
        np.concatenate([held[n] for n in chosen[inside]]) for held in (people.learned, people.kept_out)
    )
    differ: list[tuple[float, float, F64, F64]] = []
    for n in chosen:
        (here_in, here_out), (there_in, there_out) = losses(model, people, int(n)), losses(other, people, int(n))
        fell_in, fell_out = there_in - here_in, there_out - here_out
        differ.append((float(fell_in.mean()), float(fell_out.mean()), fell_in, fell_out))
    fell = np.array([one[0] for one in differ])
    of_members = [one for one, is_in in zip(differ, inside, strict=True) if is_in]
    return Guessed(
        asked=round(float(np.mean(asked)), 3),
        population=round(auc(total[inside], total[~inside]), 3),
        interaction=round(auc(raised[inside_items], raised[outside_items]), 3),
        model_population=round(auc(fell[inside], fell[~inside]), 3),
        model_interaction=round(
            auc(np.concatenate([one[2] for one in of_members]), np.concatenate([one[3] for one in of_members])), 3
        ),
    )


def attack(
    people: People, seed: int, rounds: int = 20, targets: int = 120, epsilons: tuple[float, ...] = (8.0, 2.0, 1.0)
) -> dict[str, object]:
    """All figures: without privacy, clipped alone, and for each budget."""
    half = len(people.learned) // 2
    plan = Plan(
        dimensions=8,
        cohort=round(half * RATE),
        sampling="poisson",
        participations=max(1, round(rounds * RATE)),
        interactions_max=60,
        server_lr=0.03,
        seed=seed,
    )
    rounds = plan.rounds(half)
    rate = plan.cohort / half
    began = federated.start(people.items, plan)
    some = [
        update_of(began, people.learned[n], people.items, plan, np.random.default_rng([seed, n])) for n in range(50)
    ]
    clip = float(np.median([np.linalg.norm(flat(one)) for one in some]))
    found: dict[str, object] = {
        "without": attack_run(people, plan, np.inf, 0.0, targets),
        "clipped, no noise": attack_run(people, plan, clip, 0.0, targets),
    }
    for budget in epsilons:
        noise = noise_for(Budget(epsilon=budget, delta=DELTA), rate, rounds)
        spent = epsilon([Spend(noise_multiplier=noise, rate=rate, rounds=rounds)], DELTA)
        found[f"epsilon {spent:.3g}"] = {
            "noise_multiplier": round(noise, 3),
            "auc": attack_run(people, plan, clip, noise, targets),
        }
    return {
        "data": people.data,
        "seed": seed,
        "population": half,
        "targets": f"{targets} members, {targets} outside",
        "rounds": rounds,
        "sampling": f"Poisson, q = {rate:.3g}",
        "delta": DELTA,
        "unit": "one device",
        "accountant": "PLD (dp-accounting)",
        "clip_norm": round(clip, 5),
        "auc": found,
    }
