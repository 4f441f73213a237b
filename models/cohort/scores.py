"""What people touch next by a trained model: `affinity-recent`, learned by federated rounds, and everybody's likings as
one normal distribution a kind of person.

Its training sets an item against untouched ones that are drawn evenly, so a softmax of its scores over what is left
says how probable each item is next (Gutmann and Hyvärinen 2010, "Noise-contrastive estimation"). A new person's likings
are drawn; no person's own personal part is kept. What the model remembers of single people is in how an item differs
from those that are much like it: so each is given the mean embedding of a group of those, which many people left.
"""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from models import federated, federated_affinity
from models.cohort.people import People
from models.cohort.tastes import missing
from models.federated import Plan
from models.federated_affinity import Factors, Layout, Personal, Shared
from models.zoo.affinity_recent import FACTORS, PLAN

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
SHARED = ("item_embedding", "item_bias", "place_weight")
DIMENSIONS_MAX, LENGTH_MAX, GROUPS_MAX = 256, 256, 100_000
APART = 7_000_003
"""Added to the seed, lest a model that learns from the cohort begin with the embeddings that this one began with."""
HARDLY = 0.1
"""Touches that an item has besides, so that one that nobody touched is something, too."""
GROUPINGS, GROUP_STEPS = 8, 30
SURE = 1e-9
"""Added to variances, so that a dimension that nobody differs in has a root."""


class Learning(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model of people is trained, and how its scores are used."""

    dimensions: Annotated[int, Meta(ge=1, le=DIMENSIONS_MAX)] = 32
    rank: Annotated[int, Meta(ge=1, le=DIMENSIONS_MAX)] = 8
    """Of the items' embeddings after training: the first directions are what many people share, the rest is mostly what
    single people left."""
    participations: Annotated[int, Meta(ge=1, le=1_000)] = PLAN.participations
    """Rounds that each person is in."""
    decay: Annotated[float, Meta(ge=0.0, le=1e6)] = 1.0
    """Of the items' embeddings, in times of what `affinity-recent` has: more remembers less of single people."""
    groups: Annotated[int, Meta(ge=1, le=GROUPS_MAX)] = 48
    """Of alike items, who share an embedding: what one item has besides is of few people."""
    sharp: Annotated[float, Meta(gt=0.0, le=10.0)] = 1.1
    """What scores are multiplied by; above 1, new people are more decided than the model is of real ones: grouping
    takes from the scores' size."""
    order: Annotated[float, Meta(ge=0.0, le=10.0)] = 0.9
    """What the part of the last items is multiplied by besides."""
    liking: Annotated[float, Meta(ge=0.0, le=10.0)] = 0.7
    """What people's likings are multiplied by besides."""


class Scores(Struct, frozen=True, kw_only=True):
    """A model's scores, sharpened, and how its personal part differs between people."""

    embedding: F64
    """(items, d)."""
    bias: F64
    """(items,)."""
    place: F64
    """(length, d): weights of the last items; the newest stands last."""
    liking: F64
    """(kinds, d): mean of people's personal vectors."""
    spread: F64
    """(d, d): Cholesky factor of their covariance within kinds, lower triangle."""

    def liking_of(self, kind: int, dice: np.random.Generator) -> F64:
        """A new person's personal vector, (d,)."""
        return np.asarray(self.liking[kind] + self.spread @ dice.standard_normal(len(self.spread)), np.float64)


def fit(people: People, kind: I64, kinds: int, k_min: int, learning: Learning, seed: int) -> Scores:
    """Learn a model of everybody.

    Args:
        kind: (people,) each one's kind.
        k_min: items that fewer people touched share one embedding and one bias.
        learning: how much, and how its scores are used.
    """
    items = len(people.catalogue)
    plan = replace(PLAN, dimensions=learning.dimensions, participations=learning.participations, seed=seed + APART)
    decay = {**FACTORS.decay, "item_embedding": learning.decay * FACTORS.decay["item_embedding"]}
    factors = Factors(FACTORS.lr, FACTORS.step, decay)
    shared, own = federated.train(people.items, items, plan, federated.start(items, plan), factors)
    embedding, bias = (
        truncated(shared.item_embedding[:items], learning.rank),
        shared.item_bias[:items].astype(np.float64),
    )
    touches = np.bincount(np.concatenate(people.items), minlength=items)
    rare = touches < k_min
    if rare.any():
        embedding[rare] = embedding[rare].mean(axis=0)
        bias[rare] = np.log(np.exp(bias[rare]).mean())
    embedding = grouped(embedding, touches, learning.groups, seed)
    vectors = own.user_vector.astype(np.float64)
    liking = np.stack([vectors[kind == one].mean(axis=0) for one in range(kinds)])
    off = vectors - liking[kind]
    covariance = off.T @ off / len(off) + SURE * np.eye(len(off.T))
    sharp = learning.sharp
    return Scores(
        embedding=embedding,
        bias=sharp * bias,
        place=sharp * learning.order * shared.place_weight.astype(np.float64),
        liking=sharp * learning.liking * liking,
        spread=sharp * learning.liking * np.linalg.cholesky(covariance),
    )


def truncated(embedding: F32, rank: int) -> F64:
    """The nearest matrix of that rank, (items, d): singular values after the first are 0 (Eckart and Young 1936)."""
    left, size, right = np.linalg.svd(embedding.astype(np.float64), full_matrices=False)
    return np.asarray((left[:, :rank] * size[:rank]) @ right[:rank], np.float64)


def grouped(embedding: F64, touches: I64, groups: int, seed: int) -> F64:
    """Each item's embedding as the mean of a group of alike items, averaged over `GROUPINGS` ways to group: (items, d).

    An item that a few people touched has what they left in its own embedding; a group's mean is of many. One grouping
    has edges, where an item is with others than it is most like; several have theirs in different places. Groups by
    k-means (scikit-learn); their mean as the mean of an ensemble (Strehl and Ghosh 2002, "Cluster Ensembles", has
    the thought for the groups themselves).

    Args:
        embedding: (items, d).
        touches: (items,) people who touched each: how much its embedding counts.
        groups: of a grouping; as many as there are items, or more: all stay as they are.
    Raises:
        BuildUnavailable: scikit-learn is not installed.
    """
    if groups >= len(embedding):
        return embedding
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise missing() from error
    found = np.zeros_like(embedding)
    for number in range(GROUPINGS):
        means = KMeans(groups, n_init=1, max_iter=GROUP_STEPS, random_state=(seed + number) % (1 << 32))
        group = means.fit_predict(embedding, sample_weight=touches + HARDLY)
        found += means.cluster_centers_[group] / GROUPINGS
    return found


def draw(scores: Scores, liking: F64, count: int, dice: np.random.Generator) -> I64:
    """Different items of one new person, in order, (count,)."""
    embedding = scores.embedding.astype(np.float32)
    base = (scores.embedding @ liking + scores.bias).astype(np.float32)
    place = scores.place.astype(np.float32)
    last = np.zeros_like(place)
    chances = dice.random(count).tolist()
    found = np.zeros(count, np.int64)
    for at, chance in enumerate(chances):
        logits = base + embedding @ (place * last).sum(axis=0)
        running = np.cumsum(np.exp(logits - logits.max()), dtype=np.float64)
        item = int(np.searchsorted(running, chance * running[-1], side="right"))
        if item >= len(base) or base[item] == -np.inf:  # rounding at the very end
            item = int(np.argmax(logits))
        found[at] = item
        base[item] = -np.inf
        last[:-1] = last[1:]
        last[-1] = embedding[item]
    return found


def probable(scores: Scores, people: People, plan: Plan = PLAN) -> F64:
    """Log probability of each interaction, in the order of `people.items`, with the personal vector that each person
    learns as a device does, (n,)."""
    items, size = scores.embedding.shape
    shared = Shared(
        np.vstack([scores.embedding, np.zeros((1, size))]).astype(np.float32),
        np.append(scores.bias, 0.0).astype(np.float32),
        scores.place.astype(np.float32),
    )
    still = Factors(FACTORS.lr, {**FACTORS.step, **dict.fromkeys(SHARED, 0.0)}, FACTORS.decay)
    alone = replace(plan, server="plain", dimensions=size, length=len(scores.place))
    _, own = federated.train(people.items, items, alone, shared, still)
    return np.concatenate([_logs(shared, own, number, row) for number, row in enumerate(people.items)])


def of_a_stranger(shared: Shared, people: People) -> F64:
    """Mean log probability of each person's interactions by a model's shared part alone, (people,)."""
    count, size = len(people.users), shared.item_embedding.shape[1]
    nobody = Personal(np.zeros((count, size), np.float32), np.zeros(count, np.float32))
    return np.array([_logs(shared, nobody, number, row).mean() for number, row in enumerate(people.items)])


def _logs(shared: Shared, own: Personal, number: int, history: I64) -> F64:
    """Of one person's interactions, each among what was untouched before it."""
    items = len(shared.item_bias) - 1
    placed: Layout = federated_affinity.layout([history], items, len(shared.place_weight))
    _, query = federated_affinity.queries(shared, placed.flat)
    logits = (query[placed.at] + own.user_vector[number]) @ shared.item_embedding[:items].T + shared.item_bias[:items]
    for at, item in enumerate(history[:-1].tolist()):
        logits[at + 1 :, item] = -np.inf
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[np.arange(len(history)), history] - np.log(np.exp(logits).sum(axis=1))
    return np.asarray(chosen, np.float64)
