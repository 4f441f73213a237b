"""Was this person in the round, in the run? Was this interaction learned from? Asked of what a run releases.

A run has half of all people in its population (the members) and asks each of them in each round by a coin of rate q, or
everyone (q = 1), as a secret sum with the devices' own noise does; then who was asked is nothing to find out.
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
BY_DEVICES = "epsilon {:.3g}, everyone asked, noise by the devices"


class Release(NamedTuple):
    """One round as it can be seen from outside, and who was asked, which cannot."""

    before: Shared
    update: Named
    asked: I64
    """People."""


class Guessed(Struct, frozen=True):
    """AUC of each attack; 0.5 is guessing."""

    asked: float | None
    """None: everyone was asked."""
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


class Run(NamedTuple):
    """What was done to half of the people, and what came of it."""

    members: I64
    releases: list[Release]
    model: Shared


def attack_run(people: People, plan: Plan, clip: float, noise: float, targets: int) -> Guessed:
    """Run both halves, and attack each one's releases and model with the other as those outside.

    One half may be easier to tell from the other than any two people are, by chance: with the roles exchanged that
    counts against the attack as much as it counted for it.
    """
    dice = np.random.default_rng([plan.seed, 10])
    halves = [np.sort(half) for half in np.array_split(dice.permutation(len(people.learned)), 2)]
    runs = [Run(half, *run(people, half, plan, clip, noise, 11 + n)) for n, half in enumerate(halves)]
    chosen = np.concatenate([half[:targets] for half in halves])
    found = [_attacked(people, plan, chosen, own, other.model) for own, other in (runs, runs[::-1])]
    asked = [one["asked"] for one in found if "asked" in one]
    means = {name: round(float(np.mean([one[name] for one in found])), 3) for name in found[0] if name != "asked"}
    return Guessed(asked=round(float(np.mean(asked)), 3) if asked else None, **means)


def _attacked(people: People, plan: Plan, chosen: I64, own: Run, other: Shared) -> dict[str, float]:
    """AUC of each attack on one run, by name; `asked` only where not everyone was."""
    inside = np.isin(chosen, own.members)
    inner = scores(people, chosen, own.releases, plan)
    asked = [
        auc(row[inside & there], row[inside & ~there])
        for row, one in zip(inner - inner.mean(0), own.releases, strict=True)
        if (inside & ~(there := np.isin(chosen, one.asked))).any()
    ]
    total = inner.sum(0)
    raised = np.sum([one.update["item_bias"] for one in own.releases], axis=0)
    inside_items, outside_items = (
        np.concatenate([held[n] for n in chosen[inside]]) for held in (people.learned, people.kept_out)
    )
    differ: list[tuple[float, F64, F64]] = []
    for n in chosen:
        (here_in, here_out), (there_in, there_out) = (losses(one, people, int(n)) for one in (own.model, other))
        fell_in, fell_out = there_in - here_in, there_out - here_out
        differ.append((float(fell_in.mean()), fell_in, fell_out))
    fell = np.array([one[0] for one in differ])
    of_members = [one for one, is_in in zip(differ, inside, strict=True) if is_in]
    return {
        **({"asked": float(np.mean(asked))} if asked else {}),
        "population": auc(total[inside], total[~inside]),
        "interaction": auc(raised[inside_items], raised[outside_items]),
        "model_population": auc(fell[inside], fell[~inside]),
        "model_interaction": auc(
            np.concatenate([one[1] for one in of_members]), np.concatenate([one[2] for one in of_members])
        ),
    }


def standard_error(targets: int) -> float:
    """Of an AUC near 0.5 with so many on each side (Hanley and McNeil 1982)."""
    return float(np.sqrt((2 * targets + 1) / (12.0 * targets * targets)))


def plan_of(half: int, rate: float, rounds: int, seed: int) -> Plan:
    """A run in which each of so many members is asked in each round with this probability."""
    return Plan(
        dimensions=8,
        cohort=round(half * rate),
        sampling="poisson" if rate < 1.0 else "turns",
        participations=max(1, round(rounds * rate)),
        interactions_max=60,
        server_lr=0.03,
        seed=seed,
    )


def attack(
    people: People, seed: int, rounds: int = 20, targets: int = 235, epsilons: tuple[float, ...] = (8.0, 2.0, 1.0)
) -> dict[str, object]:
    """All figures: without privacy, clipped alone, and for each budget."""
    half = len(people.learned) // 2
    targets = min(targets, half)
    plan = plan_of(half, RATE, rounds, seed)
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
    everyone = plan_of(half + 1, 1.0, rounds, seed)  # the larger half, where they are not alike
    for budget in epsilons:
        # The least noise that the sum may have; where nobody vanishes it is a third more.
        noise = noise_for(Budget(epsilon=budget, delta=DELTA, accountant="rdp"), 1.0, rounds, "devices")
        found[BY_DEVICES.format(budget)] = {
            "noise_multiplier": round(noise, 3),
            "auc": attack_run(people, everyone, clip, noise, targets),
        }
    return {
        "data": people.data,
        "seed": seed,
        "population": half,
        "targets": f"{targets} members, {targets} outside",
        "standard_error": round(standard_error(targets), 3),
        "rounds": rounds,
        "sampling": f"Poisson, q = {rate:.3g}",
        "delta": DELTA,
        "unit": "one device",
        "accountant": "PLD (dp-accounting); noise by the devices: RDP, no sampling counted",
        "clip_norm": round(clip, 5),
        "auc": found,
    }
