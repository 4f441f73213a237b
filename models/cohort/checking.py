"""`edge-models cohort check`: does a cohort resemble people, does it give anyone away, can it be learned from it?

Each seed parts the people anew into those that a generator is fitted on, others, and the attacker's own; with folds,
everybody is left out once, and a generator is fitted on all the rest. So what is told of privacy and of use is of one
and the same generator, and nobody who is asked was fitted on.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import ceil
from time import perf_counter
from typing import TypeVar

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from models import intervals
from models.cohort import fitting, membership, resemblance, usefulness
from models.cohort.generator import Generator, GeneratorCard, Settings
from models.cohort.people import People
from models.cohort.resemblance import Statistic
from models.cohort.sampling import sample
from models.federated import Plan
from models.federated_affinity import Shared
from models.intervals import Estimate
from models.zoo.affinity_recent import PLAN

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
T = TypeVar("T")
Progress = Callable[[str], None]
TIMES = 1
"""People of a cohort for each that its generator was fitted on."""
AUC_MAX, GAP_MAX = 0.55, 5.0
MODEL, STRANGERS = "affinity-recent", "people whom the generator was not fitted on"


class Attack(Struct, frozen=True, kw_only=True):
    """One attack on membership."""

    name: str
    on: str
    """cohort or file."""
    auc: Estimate
    """Mean over seeds, 95 % by Student's t over seeds; with one seed: unknown, 0 to 1."""
    by_seed: tuple[float, ...]


class Use(Struct, frozen=True, kw_only=True):
    """HR@10 in percent of the same people, by whom the shared part was trained on."""

    asked: str
    by: str
    """Model that learned and was asked."""
    people: int
    real: tuple[float, ...]
    synthetic: tuple[float, ...]
    """Both by seed."""
    gap: Estimate
    """Real less synthetic, in points, means over seeds; 95 % by bootstrap over people."""


class Report(Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    data: str
    settings: Settings
    seeds: tuple[int, ...]
    """Of partings; with folds, the fold's number."""
    folds: int | None
    """Parts that everybody was in once; None: people were parted by seeds."""
    people: int
    members: float
    """Share of the people whom a generator was fitted on."""
    times: int
    """People of a cohort for each of them."""
    statistics: tuple[Statistic, ...]
    """Of a generator of everybody, first seed."""
    attacks: tuple[Attack, ...]
    nearest: tuple[membership.Distance, ...]
    """By seed."""
    use: tuple[Use, ...]
    other_use: tuple[Use, ...]
    """The same by EASE, which the generator has nothing of; the verdict does not look at it."""
    membership_auc: float
    """Of the strongest attack on the cohort, mean over seeds."""
    hr10_gap: float | None
    """Points that training on the cohort loses; None: not asked."""
    auc_max: float
    gap_max: float
    passed: bool
    seconds: float


class _Seen(Struct, frozen=True, kw_only=True):
    """What one seed found."""

    auc: dict[str, float]
    nearest: membership.Distance
    hits: dict[str, tuple[F64, F64]]
    """By model: trained on real people, and on their cohort."""


def check(
    people: People,
    card: GeneratorCard,
    seeds: Sequence[int],
    progress: Progress,
    *,
    use: bool = True,
    learned: bool = False,
    everybody: bool = False,
    folds: int | None = None,
    members: float = membership.SHARE,
    times: int = TIMES,
    auc_max: float = AUC_MAX,
    gap_max: float = GAP_MAX,
    plan: Plan = PLAN,
) -> Report:
    """Fit, sample and look, once a seed.

    Args:
        card: of the generator that is checked; its settings are used.
        use: whether models are trained, which takes most of the time.
        learned: also the attack of somebody who trains models, on the cohort and on the people that they know.
        everybody: also train as the bench does, on everybody's past, and ask everybody.
        folds: leave everybody out once, in so many parts, instead of parting by seeds; `seeds` and `members` follow.
        members: share of the people whom a generator is fitted on; the rest are others and the attacker's, in halves.
        times: people of a cohort for each that it was fitted on.
        plan: of the trainings.
    Raises:
        DatasetInvalid: too few people.
        BuildUnavailable: scikit-learn is not installed.
    """
    began = perf_counter()
    if folds is None:
        turn, fewest = "seed", min(members, (1.0 - members) / 2.0)
    else:
        turn, seeds, members, fewest = "fold", range(folds), 1.0 - 1.0 / folds, 1.0 / folds
    fitting.refuse_few(people, ceil(round(fitting.PEOPLE_MIN / fewest, 6)))
    whole = fitting.fit(people, card.settings, card, progress)
    statistics = resemblance.compare(people, sample(whole, len(people.users), seeds[0]), seeds[0])
    once = partial(_once, use=use, learned=learned, times=times, plan=plan)
    seen = [
        once(people, parts, card, seed, partial(_told, progress, f"{turn} {seed}: "))
        for seed, parts in _partings(len(people.users), seeds, folds, members)
    ]
    uses = [_use(STRANGERS, name, [one.hits[name] for one in seen]) for name in seen[0].hits]
    if use and everybody:
        uses.append(_everybody(people, card, seeds, progress, times, plan))
    attacks = tuple(_attack(name, [one.auc[name] for one in seen]) for name in seen[0].auc)
    worst = max(one.auc.value for one in attacks if one.on == "cohort")
    gap = max((one.gap.value for one in uses if one.by == MODEL), default=None)
    return Report(
        data=card.data,
        settings=card.settings,
        seeds=tuple(seeds),
        folds=folds,
        people=len(people.users),
        members=members,
        times=times,
        statistics=statistics,
        attacks=attacks,
        nearest=tuple(one.nearest for one in seen),
        use=tuple(one for one in uses if one.by == MODEL),
        other_use=tuple(one for one in uses if one.by != MODEL),
        membership_auc=worst,
        hr10_gap=gap,
        auc_max=auc_max,
        gap_max=gap_max,
        passed=worst <= auc_max and (gap is None or gap <= gap_max),
        seconds=perf_counter() - began,
    )


def _partings(
    people: int, seeds: Sequence[int], folds: int | None, members: float
) -> Iterable[tuple[int, tuple[I64, ...]]]:
    if folds is not None:
        return enumerate(membership.folds(people, folds))
    return ((seed, membership.parted(people, seed, members)) for seed in seeds)


def _told(progress: Progress, prefix: str, line: str) -> None:
    progress(prefix + line)


def _fitted(people: People, card: GeneratorCard, seed: int, times: int) -> tuple[Generator, People]:
    """A generator of some of the people, and `times` as many new ones."""
    made = fitting.fit(people, replace(card.settings, seed=seed), card, lambda _line: None)
    return made, sample(made, times * len(people.users), seed)


def _once(
    people: People,
    parts: tuple[I64, ...],
    card: GeneratorCard,
    seed: int,
    progress: Progress,
    *,
    use: bool,
    learned: bool,
    times: int,
    plan: Plan,
) -> _Seen:
    members, *rest = (people.only(part) for part in parts)
    others = people.only(np.sort(np.concatenate(parts[1:])))
    progress(f"a generator of {len(members.users)} people, a cohort of {times * len(members.users)}")
    made, cohort = _fitted(members, card, seed, times)
    # Others and the attacker's own change places, so that nobody's part is left to chance.
    pairs = [(others, None)] if len(rest) == 1 else [(rest[0], rest[1]), (rest[1], rest[0])]
    ways = [membership.attacks(members, judged, known, cohort, made) for judged, known in pairs]
    auc = {name: float(np.mean([one[name] for one in ways])) for name in ways[0]}
    told = ", ".join(f"{name} {value:.3f}" for name, value in auc.items())
    progress(f"membership AUC {told}")
    nearest = membership.distance(members, others, cohort, seed)
    hits: dict[str, tuple[F64, F64]] = {}
    items = len(people.catalogue)

    def trained(source: People) -> Shared:
        return usefulness.learned(source.items, items, seed, plan)

    of_cohort = trained(cohort) if use or learned else None
    if learned and of_cohort is not None:
        halves = (rest[0], rest[1]) if len(rest) > 1 else _halves(others)
        auc["learned"] = membership.learned(members, halves, of_cohort, trained)
        progress(f"membership AUC learned {auc['learned']:.3f}")
    if use and of_cohort is not None:
        question = usefulness.question_of(others)
        hits[MODEL] = _both(
            lambda shared: usefulness.hits(shared, question, items, seed, plan), (trained(members), of_cohort)
        )
        if items <= usefulness.EASE_ITEMS_MAX:
            hits["EASE"] = _both(
                lambda source: usefulness.hits_of_ease(source.items, question, items, seed), (members, cohort)
            )
    for name, (real, synthetic) in hits.items():
        told = f"{100.0 * real.mean():.2f} % after training on real people, {100.0 * synthetic.mean():.2f} % on theirs"
        progress(f"HR@10 of {name} {told}")
    return _Seen(auc=auc, nearest=nearest, hits=hits)


def _halves(people: People) -> tuple[People, People]:
    count = len(people.users)
    return people.only(range(0, count, 2)), people.only(range(1, count, 2))


def _both(asked: Callable[[T], F64], sources: tuple[T, T]) -> tuple[F64, F64]:
    return asked(sources[0]), asked(sources[1])


def _everybody(
    people: People, card: GeneratorCard, seeds: Sequence[int], progress: Progress, times: int, plan: Plan
) -> Use:
    """As the bench: everybody's past is learned from, everybody's newest item is asked."""
    able = people.only([n for n, own in enumerate(people.items) if len(own) > 1])
    question, past, items = usefulness.question_of(able), able.without_newest(), len(people.catalogue)
    found = []
    for seed in seeds:
        _, cohort = _fitted(past, card, seed, times)
        pair = []
        for name, source in (("real", past), ("synthetic", cohort)):
            shared = usefulness.learned(source.items, items, seed, plan)
            pair.append(usefulness.hits(shared, question, items, seed, plan))
            progress(f"seed {seed}, everybody: HR@10 {100.0 * pair[-1].mean():.2f} % after training on {name} people")
        found.append((pair[0], pair[1]))
    return _use("everybody, whose past the generator was fitted on", MODEL, found)


def _use(asked: str, by: str, found: Sequence[tuple[F64, F64]]) -> Use:
    lost = np.concatenate([100.0 * (real - synthetic) for real, synthetic in found])
    return Use(
        asked=asked,
        by=by,
        people=len(found[0][0]),
        real=tuple(100.0 * float(real.mean()) for real, _ in found),
        synthetic=tuple(100.0 * float(synthetic.mean()) for _, synthetic in found),
        gap=intervals.bootstrap(lost, seed=0),
    )


def _attack(name: str, found: Sequence[float]) -> Attack:
    on = "cohort" if name in membership.COHORT_ATTACKS else "file"
    return Attack(name=name, on=on, auc=over_seeds(found), by_seed=tuple(found))


def over_seeds(found: Sequence[float]) -> Estimate:
    """Mean and 95 % interval of it by Student's t; of one value: 0 to 1."""
    mean = float(np.mean(found))
    if len(found) < 2:
        return Estimate(value=mean, low=0.0, high=1.0)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / np.sqrt(len(found)))
    return Estimate(value=mean, low=mean - half, high=mean + half)
