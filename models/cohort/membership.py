"""Can anybody tell from a cohort whether a person was among those it was fitted on?

Three groups: members (fitted on), others (not), and reference people whom the attacker has besides; where the others
are too few to be parted, all of them but the one who is judged. An attack gives every member and other a score; its AUC
is the chance that a member scores above another, 0.5 is a guess.

- nearest: how like the person is to the nearest one of the cohort (Chen et al. 2020, "GAN-Leaks", full black box).
- density: likeness to the nearest few of the cohort, less that to the nearest few reference people, as DOMIAS has it
  (van Breugel et al. 2023, "Membership Inference Attacks against Synthetic Data through Overfitting Detection").
- wide: density by as many more of the nearest as the cohort is larger than the members: what more people tell.
- order: how probable the person's order of items is by pairs of the cohort, less by those of the reference people.
- file: the same as order, by the generator itself: what whoever holds its file could try.
- learned: how probable the person's order is by a model that was trained on the cohort, less by one that was trained on
  the reference people, as LiRA compares models (Carlini et al. 2022, "Membership Inference Attacks From First
  Principles"). The strongest that we know, and minutes of training; asked for by itself.
"""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import evaluate
from models.cohort import scores
from models.cohort.following import FADE, PLACES, pairs_of
from models.cohort.generator import Generator
from models.cohort.people import People
from models.cohort.scores import Scores
from models.cohort.tastes import touched
from models.federated_affinity import Shared

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
NEAREST = 10
HALF = 0.5
FOLD_STEPS = 30
COHORT_ATTACKS = ("nearest", "density", "wide", "order", "learned")
SHARE = 0.5
"""Of the people, who are members."""


class Distance(Struct, frozen=True, kw_only=True):
    """How near a cohort comes to those it was fitted on, and to as many others; distance is 1 - Jaccard."""

    to_members: float
    """Median over the cohort of the distance to the nearest member."""
    to_others: float
    closer_to_members: float
    """Share of the cohort that is nearer to a member; ties count half. 0.5: as near to one as to the other."""
    ratio: float
    """`to_members` over `to_others`; below 1 the cohort leans to its members."""
    copies: int
    """People of the cohort who have exactly the items of a member."""


def attacks(
    members: People, others: People, reference: People | None, cohort: People, generator: Generator
) -> dict[str, float]:
    """The AUC of each attack; `wide` only where the cohort is twice as large as the members, or larger.

    Args:
        reference: whom the attacker has; None: all the others but one, for each who is judged.
    """
    people = (members, others)
    near = [likeness(one, cohort) for one in people]
    known = _known(lambda some, source: _near(likeness(some, source), NEAREST), members, others, reference)
    usual = _known(_order, members, others, reference)
    wide = NEAREST * (len(cohort.users) // len(members.users))
    found = {
        "nearest": [one.max(axis=1) for one in near],
        "density": [_near(one, NEAREST) - other for one, other in zip(near, known, strict=True)],
        "wide": [_near(one, wide) - other for one, other in zip(near, known, strict=True)] if wide > NEAREST else [],
        "order": [_order(one, cohort) - other for one, other in zip(people, usual, strict=True)],
        "file": [_by_generator(one, generator) - other for one, other in zip(people, usual, strict=True)],
    }
    label = np.concatenate([np.ones(len(members.users)), np.zeros(len(others.users))])
    return {name: evaluate.auc(np.concatenate(score), label) for name, score in found.items() if score}


def learned(members: People, others: tuple[People, People], cohort: Shared, train: Callable[[People], Shared]) -> float:
    """The AUC of the attack by trained models; each half of the others is judged by an attacker who has the other.

    Args:
        cohort: shared part of the model that was trained on the cohort.
        train: the same training, on other people.
    """
    found = []
    for judged, known in (others, others[::-1]):
        usual = train(known)
        some = (members, judged)
        score = [scores.of_a_stranger(cohort, one) - scores.of_a_stranger(usual, one) for one in some]
        label = np.concatenate([np.ones(len(members.users)), np.zeros(len(judged.users))])
        found.append(evaluate.auc(np.concatenate(score), label))
    return float(np.mean(found))


def _known(
    measure: Callable[[People, People], F64], members: People, others: People, reference: People | None
) -> tuple[F64, F64]:
    """What a measure by the reference people says of members and of others.

    Without such people each of the others stands out in turn, is judged by the rest, and so is a share of the members:
    members and others are judged by as many, lest their number tell them apart.
    """
    if reference is not None:
        return measure(members, reference), measure(others, reference)
    size, count = len(others.users), len(members.users)
    of_members, of_others = np.zeros(count), np.zeros(size)
    for out in range(size):
        rest = others.only([n for n in range(size) if n != out])
        turn = np.arange(out, count, size)
        if len(turn):
            of_members[turn] = measure(members.only(turn), rest)
        of_others[out] = measure(others.only([out]), rest)[0]
    return of_members, of_others


def distance(members: People, others: People, cohort: People, seed: int) -> Distance:
    """To the nearest members and others, of as many of each."""
    dice = np.random.default_rng(seed)
    size = min(len(members.users), len(others.users))
    some = [one.only(np.sort(dice.permutation(len(one.users))[:size])) for one in (members, others)]
    near, far = (1.0 - likeness(cohort, one).max(axis=1) for one in some)
    to_members, to_others = float(np.median(near)), float(np.median(far))
    return Distance(
        to_members=to_members,
        to_others=to_others,
        closer_to_members=float((near < far).mean() + (near == far).mean() / 2.0),
        ratio=to_members / max(to_others, 1e-12),
        copies=int((likeness(cohort, members).max(axis=1) >= 1.0).sum()),
    )


def likeness(people: People, against: People) -> F64:
    """Jaccard similarity of what was touched, (people, against)."""
    shared = (touched(people) @ touched(against).T).toarray()
    size, other = (np.array([len(own) for own in one.items], np.float64) for one in (people, against))
    return np.asarray(shared / np.maximum(size[:, None] + other[None] - shared, 1.0), np.float64)


def _near(similar: F64, few: int) -> F64:
    """Mean of each row's `few` largest."""
    few = min(few, similar.shape[1])
    return np.asarray(np.partition(similar, -few, axis=1)[:, -few:].mean(axis=1), np.float64)


def _order(people: People, source: People) -> F64:
    """Mean log probability of each person's interactions, by items and pairs of `source`, (people,)."""
    from scipy.sparse import csr_matrix

    items = len(people.catalogue)
    alone = np.bincount(np.concatenate(source.items), minlength=items) + 0.5
    alone /= alone.sum()
    known = pairs_of(source)
    weight = np.exp(-known.place / FADE)
    counts = csr_matrix((weight, (known.first, known.then)), shape=(items, items))
    mass = np.maximum(np.asarray(counts.sum(axis=1)).reshape(-1), 1.0)
    asked = pairs_of(people)
    fade = np.exp(-np.arange(PLACES) / FADE)
    told = np.asarray(counts[asked.first, asked.then]).reshape(-1) / mass[asked.first]
    flat = np.concatenate(people.items)
    after = np.bincount(asked.event, told * (fade / fade.sum())[asked.place], len(flat))
    return _by_person(people, np.log(HALF * alone[flat] + HALF * after))


def _by_generator(people: People, generator: Generator) -> F64:
    """Mean log probability of each person's interactions by the generator, with the taste that fits best."""
    from scipy.sparse import csr_matrix

    if isinstance(generator.source, Scores):
        return _by_person(people, scores.probable(generator.source, people))
    items, after = len(people.catalogue), generator.source.following
    first = np.repeat(np.arange(items), np.diff(after.start))
    table = csr_matrix((after.weight, (first, after.follower)), shape=(items, items))
    flat = np.concatenate(people.items)
    chance = after.ways[0] * folded(people, generator.source.tastes.topics)
    asked = pairs_of(people)
    told = np.asarray(table[asked.first, asked.then]).reshape(-1)
    chance += np.bincount(asked.event, told * after.ways[1 + asked.place], len(flat))
    return _by_person(people, np.log(chance + 1e-12))


def folded(people: People, topics: F64) -> F64:
    """Probability of each interaction by topics, with each person's most likely mixture, (n,)."""
    found = []
    for items in people.items:
        likelihood = topics[:, items]
        mixture = np.full(len(topics), 1.0 / len(topics))
        for _ in range(FOLD_STEPS):
            part = mixture[:, None] * likelihood
            mixture = (part / np.maximum(part.sum(axis=0), 1e-300)).mean(axis=1)
        found.append(mixture @ likelihood)
    return np.concatenate(found)


def _by_person(people: People, logs: F64) -> F64:
    counts = [len(own) for own in people.items]
    return np.add.reduceat(logs, np.cumsum([0, *counts[:-1]])) / np.array(counts, np.float64)


def parted(people: int, seed: int, share: float = SHARE) -> tuple[I64, I64, I64]:
    """Who is fitted on (`share`), who is not (a half of the rest), who is the attacker's (the other)."""
    order = np.random.default_rng(seed).permutation(people)
    members = int(people * share)
    parts: Sequence[I64] = np.split(order, [members, members + int(round(people * (1.0 - share) / 2.0, 6))])
    return np.sort(parts[0]), np.sort(parts[1]), np.sort(parts[2])


def folds(people: int, count: int, seed: int = 0) -> list[tuple[I64, I64]]:
    """Who is fitted on and who is not, `count` times: everybody is left out once."""
    order = np.random.default_rng(seed).permutation(people)
    return [(np.sort(np.setdiff1d(order, part)), np.sort(part)) for part in np.array_split(order, count)]
