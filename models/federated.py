"""Federated rounds of `affinity-recent` over many simulated clients: who takes part, and what the server does.

The server sees one thing: the weighted mean of the cohort's updates. It takes that as a gradient for Adam.
Source: Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2 (FedAdam).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import federated_affinity, negatives
from models.architecture import Architecture
from models.federated_affinity import Factors, Personal, Shared

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Named = dict[str, F32]
Combine = Callable[[int, I64, Sequence[Named], F32], Named]
"""(round from 0, the cohort's clients, their updates, their weights) → the update that the server takes."""
Server = Callable[[Named, Named, float], Named]
"""(values, update, share of the rounds that lie ahead) → the values after the round."""
Progress = Callable[[int, int, float], None]
"""(round, rounds, mean loss of the cohort in nats)."""
FADE = 8.0
"""Places after which the initial weight of an item in a query falls by e."""


class Plan(Struct, frozen=True, kw_only=True):
    """How a federated training goes."""

    dimensions: int = 32
    length: int = 20
    """How many of a client's last interactions its query looks at."""
    cohort: int = 48
    """Clients a round."""
    participations: int = 20
    """How often each client takes part; rounds = participations · ceil(clients / cohort)."""
    sampling: Literal["turns", "poisson"] = "turns"
    """turns: everyone is in as many cohorts as everyone else. poisson: each round asks each client with probability
    cohort / clients, which is what differential privacy is accounted for."""
    interactions_max: int = 195
    """What a client learns from in one round, drawn anew; with its negatives it fits one batch of 4,096 rows."""
    negatives: int = 20
    """Untouched items a client draws for each interaction, anew each round."""
    lr: float = 1.0
    server_lr: float = 0.01
    """Of Adam; falls linearly to 0 over the rounds."""
    server: Literal["adam", "plain"] = "adam"
    """plain: the mean update times `server_lr` is added, as federated averaging does."""
    seed: int = 0

    def rounds(self, clients: int) -> int:
        """Rounds in which every client takes part `participations` times."""
        return self.participations * -(-clients // self.cohort)


class Adam:
    """The server's optimiser over named arrays; `b2` forgets within about 100 rounds.

    Source: Kingma and Ba 2015, algorithm 1.
    """

    def __init__(self, lr: float, b1: float = 0.9, b2: float = 0.99, epsilon: float = 1e-8) -> None:
        self._lr, self._b1, self._b2, self._epsilon = lr, b1, b2, epsilon
        self._first: dict[str, F32] = {}
        self._second: dict[str, F32] = {}
        self._steps = 0

    def __call__(self, value: dict[str, F32], update: dict[str, F32], share: float) -> dict[str, F32]:
        """The values after one step along `update`; `share` scales the learning rate."""
        self._steps += 1
        after: dict[str, F32] = {}
        for name, change in update.items():
            first = self._b1 * self._first.get(name, np.zeros_like(change)) + (1 - self._b1) * change
            second = self._b2 * self._second.get(name, np.zeros_like(change)) + (1 - self._b2) * change * change
            self._first[name], self._second[name] = first, second
            unbiased = first / (1 - self._b1**self._steps)
            scale = np.sqrt(second / (1 - self._b2**self._steps)) + self._epsilon
            after[name] = np.asarray(value[name] + share * self._lr * unbiased / scale, np.float32)
        return after


class Plain:
    """The server of federated averaging: adds the update, `lr` times."""

    def __init__(self, lr: float) -> None:
        self._lr = np.float32(lr)

    def __call__(self, value: dict[str, F32], update: dict[str, F32], _share: float) -> dict[str, F32]:
        """The values after one step along `update`."""
        return {name: np.asarray(value[name] + self._lr * change, np.float32) for name, change in update.items()}


def bucketed(count: int) -> int:
    """An example count as devices tell it: the next lower power of two."""
    return 1 << (max(1, count).bit_length() - 1)


def factors_of(architecture: Architecture, lr: float) -> Factors:
    """How far a step of the architecture's train_step.onnx goes."""
    return Factors(
        lr,
        {tensor.name: tensor.step for tensor in architecture.parameters},
        {tensor.name: tensor.decay for tensor in architecture.parameters},
    )


def start(items: int, plan: Plan) -> Shared:
    """What the first round sends: small random embeddings, places that fade, biases at the share of positives."""
    dice = np.random.default_rng(plan.seed)
    embedding = np.zeros((items + 1, plan.dimensions), np.float32)
    embedding[:items] = dice.normal(0.0, 0.1, (items, plan.dimensions))
    bias = np.full(items + 1, -np.log(plan.negatives), np.float32)
    bias[items] = 0.0
    fade = 0.5 * np.exp(-np.arange(plan.length - 1, -1, -1) / FADE)
    return Shared(embedding, bias, np.repeat(fade[:, None], plan.dimensions, axis=1).astype(np.float32))


def train(
    histories: Sequence[I64],
    items: int,
    plan: Plan,
    start: Shared,
    factors: Factors,
    progress: Progress | None = None,
    combine: Combine | None = None,
    server: Server | None = None,
) -> tuple[Shared, Personal]:
    """All rounds.

    Args:
        histories: one client each, rows of the catalogue, oldest first; who touched nothing, or all, stays out.
        items: length of the catalogue.
        plan: how; `plan.seed` decides cohorts and negatives.
        start: the shared part that the first round sends.
        factors: of the clients' local step.
        combine: what the server does with the single updates; None: their weighted mean, computed at once.
        server: what the server does with the one update; None: as `plan.server` says.
    Returns:
        The shared part after the last round, and what each client holds.
    """
    dice = np.random.default_rng(plan.seed)
    pools = [negatives.untouched(items, one) for one in histories]
    # Who has touched nothing has no positives, who has touched everything no negatives.
    able = np.flatnonzero([len(one) > 0 and len(pool) > 0 for one, pool in zip(histories, pools, strict=True)])
    weight = np.array([bucketed(min(len(one), plan.interactions_max)) for one in histories], np.float32)
    own = Personal(
        np.zeros((len(histories), plan.dimensions), np.float32),
        np.zeros(len(histories), np.float32),
    )
    shared, take = start, server or (Adam if plan.server == "adam" else Plain)(plan.server_lr)
    cohorts = list(_cohorts(able, plan, dice))
    for number, cohort in enumerate(cohorts):
        dices = [np.random.default_rng([plan.seed, number, int(one)]) for one in cohort]
        chosen = [
            _chosen(len(histories[one]), plan.interactions_max, die) for one, die in zip(cohort, dices, strict=True)
        ]
        drawn = [
            negatives.draw(pools[one], plan.negatives * len(rows), die).reshape(len(rows), -1)
            for one, rows, die in zip(cohort, chosen, dices, strict=True)
        ]
        held = Personal(own.user_vector[cohort], own.user_bias[cohort])
        lessons = [histories[one] for one in cohort], chosen, drawn
        if combine is None:
            share = weight[cohort] / weight[cohort].sum()
            placed = federated_affinity.layout(lessons[0], items, plan.length, chosen)
            mean, after, loss = federated_affinity.step(shared, held, placed, np.concatenate(drawn), share, factors)
            update = _named(mean)
        else:
            updates, after, loss = _one_by_one(shared, held, lessons, items, plan, factors)
            update = combine(number, cohort, updates, weight[cohort])
        own.user_vector[cohort], own.user_bias[cohort] = after.user_vector, after.user_bias
        shared = Shared(**take(_named(shared), update, 1.0 - number / len(cohorts)))
        if progress is not None:
            progress(number + 1, len(cohorts), float(loss.mean()))
    return shared, own


def _cohorts(able: I64, plan: Plan, dice: np.random.Generator) -> Iterator[I64]:
    if plan.sampling == "turns":
        for _ in range(plan.participations):
            cuts = np.arange(plan.cohort, len(able), plan.cohort)
            yield from (part for part in np.split(dice.permutation(able), cuts) if len(part))
        return
    for _ in range(plan.rounds(len(able))):
        cohort = able[dice.random(len(able)) < plan.cohort / len(able)]
        if len(cohort):  # nobody was asked: a round that releases noise alone teaches nothing
            yield cohort


def _one_by_one(
    shared: Shared,
    held: Personal,
    lessons: tuple[list[I64], list[I64], list[I64]],
    items: int,
    plan: Plan,
    factors: Factors,
) -> tuple[list[Named], Personal, F32]:
    """Every client's own update, personal part after its step, and loss before it."""
    updates, losses = [], np.zeros(len(held.user_bias), np.float32)
    after = Personal(held.user_vector.copy(), held.user_bias.copy())
    alone = np.ones(1, np.float32)
    for n, (history, rows, drawn) in enumerate(zip(*lessons, strict=True)):
        placed = federated_affinity.layout([history], items, plan.length, [rows])
        mine = Personal(held.user_vector[n : n + 1], held.user_bias[n : n + 1])
        update, moved, loss = federated_affinity.step(shared, mine, placed, drawn, alone, factors)
        updates.append(_named(update))
        after.user_vector[n], after.user_bias[n], losses[n] = moved.user_vector[0], moved.user_bias[0], loss[0]
    return updates, after, losses


def _chosen(count: int, most: int, dice: np.random.Generator) -> I64:
    return np.arange(count) if count <= most else np.sort(dice.choice(count, most, replace=False))


def _named(shared: Shared) -> Named:
    return {
        "item_embedding": shared.item_embedding,
        "item_bias": shared.item_bias,
        "place_weight": shared.place_weight,
    }
