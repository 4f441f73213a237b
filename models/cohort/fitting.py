"""`edge-models cohort fit`: from people to a generator."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from models.cohort import following, households, rhythm, scores, tastes
from models.cohort.generator import FORMAT, VALUES_MAX, Generator, GeneratorCard, Settings, Topics
from models.cohort.people import People
from models.cohort.sampling import sample
from models.cohort.scores import Scores
from models.cohort.tastes import Tastes
from models.errors import DatasetInvalid

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Progress = Callable[[str], None]
PEOPLE_MIN = 20
PRIOR = 20.0
"""Ratings that everybody's distribution counts as beside an item's own."""
BALANCE_PRIOR, BALANCE_POWER, BALANCE_MOST = 5.0, 0.7, 4.0
NO_PROMISE = (
    "No differential privacy: no noise was added, so no epsilon can be stated. Only distributions over many people are "
    "kept; what fewer than {k} people did is not told apart. `edge-models cohort check` measures what can be inferred."
)
NO_PROMISE_OF_A_MODEL = (
    "No differential privacy: no noise was added, so no epsilon can be stated. A model trained on everybody is kept, "
    "and nobody's personal part. Items that fewer than {k} people touched are not told apart; what a few people "
    "went on to may be remembered. `edge-models cohort check` measures what can be inferred."
)


def fit(people: People, settings: Settings, card: GeneratorCard, progress: Progress) -> Generator:
    """Learn a generator.

    Args:
        people: whom to learn from; each has an item.
        card: what to say of it; `card_of` makes one.
    Raises:
        DatasetInvalid: too few people.
        BuildUnavailable: scikit-learn is not installed.
    """
    refuse_few(people, PEOPLE_MIN)
    seed, k_min = settings.seed, settings.k_min
    kind = rhythm.kinds_of(people, settings.kinds, seed)
    kinds = int(kind.max()) + 1
    progress(f"{kinds} kinds of people; topics of {len(people.catalogue)} items")
    liked, own = tastes.fit(people, kind, kinds, settings.topics, k_min, seed)
    source: Topics | Scores
    if settings.by == "topics":
        progress("what follows what")
        after = following.fit(people, of_interactions(people, own, liked.topics), k_min)
        source = Topics(tastes=liked, following=after)
    else:
        progress("a model of what people touch next")
        source = scores.fit(people, kind, kinds, k_min, settings.learning, seed)
    values, rating, leaning = ratings_of(people, k_min)
    made = Generator(
        card=card,
        catalogue=people.catalogue,
        source=source,
        rhythm=rhythm.fit(people, kind, kinds),
        households=households.fit(people.household, own, k_min),
        values=values,
        rating=rating,
        leaning=leaning,
    )
    for turn in range(settings.balanced):
        progress(f"balancing with a pilot cohort, {turn + 1} of {settings.balanced}")
        made = balanced(made, people, sample(made, len(people.users), seed + 1_000_003 * (turn + 1)), k_min)
    return made


def refuse_few(people: People, least: int) -> None:
    """Refuse to learn from fewer people than `least`.

    Raises:
        DatasetInvalid: there are fewer.
    """
    if len(people.users) < least:
        raise DatasetInvalid(
            f"{len(people.users)} people are too few to be hidden among each other", hint=f"give {least} people or more"
        )


def card_of(people: People, data: Path, settings: Settings, command: str) -> GeneratorCard:
    """What is said of a generator of these people.

    Args:
        data: the file that they were read from; only its name and its hash are told.
        command: what makes it again.
    """
    return GeneratorCard(
        format=FORMAT,
        data=data.name,
        data_sha256=hashlib.sha256(data.read_bytes()).hexdigest(),
        first=_day(min(float(own[0]) for own in people.times)),
        last=_day(max(float(own[-1]) for own in people.times)),
        people=len(people.users),
        interactions=people.interactions,
        households=any(people.household),
        settings=settings,
        privacy=(NO_PROMISE if settings.by == "topics" else NO_PROMISE_OF_A_MODEL).format(k=settings.k_min),
        command=command,
        edgeward=version("edgeward"),
    )


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s"  # a clock of its own


def of_interactions(people: People, own: F64, topics: F64) -> F64:
    """Probability of each interaction under its person's taste alone, (n,)."""
    found = [np.einsum("k,kn->n", mixture, topics[:, items]) for mixture, items in zip(own, people.items, strict=True)]
    return np.concatenate(found)


def ratings_of(people: People, k_min: int) -> tuple[F64, F64, float]:
    """Values that ratings take, their shares by item, and how far people tilt them.

    Returns:
        (values,), (items, values), and the standard deviation of the tilt.
    """
    told, items = np.concatenate(people.ratings), np.concatenate(people.items)
    values = np.unique(told)
    if len(values) > VALUES_MAX:
        values = np.unique(np.quantile(told, np.linspace(0.0, 1.0, VALUES_MAX)))
    at = np.abs(told[:, None] - values[None]).argmin(axis=1) if len(values) > 1 else np.zeros(len(told), np.int64)
    table = np.zeros((len(people.catalogue), len(values)))
    np.add.at(table, (items, at), 1.0)
    table[table.sum(axis=1) < k_min] = 0.0
    everybody = np.bincount(at, minlength=len(values)) / len(at)
    table += PRIOR * everybody
    table /= table.sum(axis=1, keepdims=True)
    spread = float(values[at].var())
    if spread < 1e-12:
        return values, table, 0.0
    expected = table @ values
    off = np.array([float((r - expected[i]).mean()) for r, i in zip(people.ratings, people.items, strict=True)])
    by_chance = np.array([spread / len(own) for own in people.items])
    return values, table, float(np.sqrt(max(0.0, float(off.var()) - float(by_chance.mean()))) / spread)


def balanced(made: Generator, people: People, pilot: People, k_min: int) -> Generator:
    """The generator with its items' weights moved towards how many people touch each.

    Drawing without replacement flattens what is popular; the ratio of real to drawn counts sets it right, as raking
    does with margins (Deming and Stephan 1940). Items of fewer than k people move together.
    """
    items = len(made.catalogue)
    real = np.bincount(np.concatenate(people.items), minlength=items).astype(np.float64)
    drawn = np.bincount(np.concatenate(pilot.items), minlength=items).astype(np.float64)
    rare = real < k_min
    for counts in (real, drawn):
        if rare.any():
            counts[rare] = counts[rare].mean()
    ratio = ((real + BALANCE_PRIOR) / (drawn * real.sum() / max(drawn.sum(), 1.0) + BALANCE_PRIOR)) ** BALANCE_POWER
    ratio = np.clip(ratio, 1.0 / BALANCE_MOST, BALANCE_MOST)
    if isinstance(made.source, Scores):
        return replace(made, source=replace(made.source, bias=made.source.bias + np.log(ratio)))
    topics = made.source.tastes.topics * ratio
    topics /= topics.sum(axis=1, keepdims=True)
    tilted = Tastes(topics=topics, mixture=made.source.tastes.mixture)
    return replace(made, source=Topics(tastes=tilted, following=made.source.following))
