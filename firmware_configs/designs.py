"""Designs of experiments: which arms come of factors, which comparisons they allow, and what a fraction confounds.

A two-level factor is coded -1 (its first level) and +1. A generator `d = a*b*c` says that d is not varied freely but
set to that product; every product of generators then equals 1, which is the defining relation, and effects that differ
by a factor of it cannot be told apart.

Source: Box, Hunter and Hunter 2005, "Statistics for Experimenters", 2nd edition, chapters 5 and 6.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from firmware_configs.language.experiments import Arm, Experiment, Factor, Treatment

if TYPE_CHECKING:
    from firmware_configs.language.placements import Placement
    from firmware_configs.profile import Profile

ARMS_MAX = 64
TREATMENT = Treatment.__struct_fields__
Word = frozenset[str]
"""A product of factors; a factor times itself is 1."""


class Contrast(Struct, frozen=True, kw_only=True):
    """One comparison of arms: the sum of coefficient times mean."""

    name: str
    coefficients: tuple[float, ...]
    """One an arm; they sum to zero."""
    aliases: tuple[str, ...] = ()
    """Effects that this one cannot be told apart from."""


def arms(experiment: Experiment) -> tuple[Arm, ...]:
    """The arms, as written or as the factors make them: the first factor changes slowest, the baseline comes first."""
    if not experiment.factors:
        return experiment.arms
    made = []
    for run in _runs(experiment):
        chosen = [factor.levels[n] for factor, n in zip(experiment.factors, run, strict=True)]
        set_by = {name: value for level in chosen for name in TREATMENT if (value := getattr(level, name)) is not None}
        made.append(Arm(name="-".join(level.name for level in chosen), **set_by))
    return tuple(made)


def control(experiment: Experiment) -> int:
    """The place of the control among the arms; 0 when it is not named, or not there."""
    names = [arm.name for arm in arms(experiment)]
    return names.index(experiment.control) if experiment.control in names else 0


def contrasts(experiment: Experiment) -> tuple[Contrast, ...]:
    """What is compared: each arm with the control, or the main effects and two-factor interactions of the factors."""
    if experiment.factors:
        return tuple(_effects(experiment))
    names, base = [arm.name for arm in experiment.arms], control(experiment)
    return tuple(
        Contrast(
            name=f"{name} vs {names[base]}",
            coefficients=tuple(float(n == at) - float(n == base) for n in range(len(names))),
        )
        for at, name in enumerate(names)
        if at != base
    )


def generated(text: str) -> tuple[str, Word] | None:
    """(factor, the factors that it is the product of) of a generator; None: it is none."""
    left, equals, right = text.partition("=")
    parts = [part.strip() for part in right.split("*")]
    if not equals or not left.strip() or not all(parts) or len(set(parts)) != len(parts) or left.strip() in parts:
        return None
    return left.strip(), frozenset(parts)


def defining_relation(experiment: Experiment) -> tuple[Word, ...]:
    """All products of factors that are constant over the arms, shortest first; empty for a full design."""
    words = [word for _, word in _generators(experiment)]
    found = set()
    for count in range(1, len(words) + 1):
        for some in itertools.combinations(words, count):
            product: Word = frozenset()
            for word in some:
                product ^= word
            found.add(product)
    return tuple(sorted(found, key=lambda word: (len(word), sorted(word))))


def resolution(experiment: Experiment) -> int:
    """Length of the shortest word of the defining relation; 0 for a full design."""
    return min((len(word) for word in defining_relation(experiment)), default=0)


def in_words(experiment: Experiment) -> list[str]:
    """What the design is and what it cannot tell apart, for people."""
    made = arms(experiment)
    if not experiment.factors:
        return [f"experiment {experiment.name}: {len(made)} arms: {', '.join(arm.name for arm in made)}"]
    levels = " × ".join(f"{factor.name} ({len(factor.levels)})" for factor in experiment.factors)
    if not experiment.generators:
        return [f"experiment {experiment.name}: full factorial, {levels}: {len(made)} arms; no effects are confounded"]
    relation = defining_relation(experiment)
    runs = 2 ** len(experiment.factors)
    alike = ", ".join(_told(word) for word in relation)
    told = f"fractional factorial, {levels}: {len(made)} of {runs} combinations, resolution {resolution(experiment)}"
    return [
        f"experiment {experiment.name}: {told}; always equal: {alike}",
        *(
            f"  {contrast.name} cannot be told apart from {', '.join(contrast.aliases)}"
            for contrast in contrasts(experiment)
            if contrast.aliases
        ),
    ]


def told(profile: "Profile") -> list[str]:
    """`in_words` for all experiments of a profile, with who takes part."""
    lines = []
    for place in profile.placement:
        one = place.experiment
        if one is None:
            continue
        where = f" of layer {one.layer}" if one.layer else ""
        days = f"each measured for {one.window_s / 86_400.0:g} days"
        lines += [*in_words(one), f"  at {place.name}, for {one.share * 100:g} % of the people{where}, {days}"]
    if lines and profile.experiments.holdout:
        lines.append(f"{profile.experiments.holdout * 100:g} % of the people are in no experiment")
    return lines


def _generators(experiment: Experiment) -> Iterator[tuple[str, Word]]:
    """(factor that is set, the whole word that equals 1); without what the profile's check refuses."""
    free = {factor.name for factor in experiment.factors if len(factor.levels) == 2}
    parsed = [one for text in experiment.generators if (one := generated(text)) is not None]
    free -= {name for name, _ in parsed}
    names = {factor.name for factor in experiment.factors}
    for name, word in parsed:
        if name in names and word <= free:
            yield name, word | {name}


def _runs(experiment: Experiment) -> Iterator[tuple[int, ...]]:
    names = [factor.name for factor in experiment.factors]
    set_by = {name: word - {name} for name, word in _generators(experiment)}
    free = [factor for factor in experiment.factors if factor.name not in set_by]
    for levels in itertools.product(*(range(len(factor.levels)) for factor in free)):
        at = dict(zip((factor.name for factor in free), levels, strict=True))
        for name, word in set_by.items():
            at[name] = (1 + _sign(at, word)) // 2
        yield tuple(at[name] for name in names)


def _sign(at: dict[str, int], word: Word) -> int:
    sign = 1
    for name in word:
        sign *= 2 * at[name] - 1
    return sign


def _effects(experiment: Experiment) -> Iterator[Contrast]:
    runs = list(_runs(experiment))
    relation = defining_relation(experiment)
    two_level = [factor for factor in experiment.factors if len(factor.levels) == 2]
    for factor in experiment.factors:
        if len(factor.levels) > 2:
            yield from _levels(experiment.factors, factor, runs)
    places = {factor.name: n for n, factor in enumerate(experiment.factors)}
    seen: set[Word] = set()
    for count in (1, 2):
        for some in itertools.combinations(two_level, count):
            word = frozenset(factor.name for factor in some)
            same = [word ^ other for other in relation]
            if seen.intersection((word, *same)) or any(not one for one in same):
                continue  # told already, under the simpler name; or constant
            seen.add(word)
            signs = [_sign({name: run[places[name]] for name in word}, word) for run in runs]
            short = sorted((one for one in same if len(one) <= 2), key=lambda one: (len(one), sorted(one)))
            yield Contrast(
                name=_told(word),
                coefficients=tuple(2.0 * sign / len(runs) for sign in signs),
                aliases=tuple(_told(one) for one in short),
            )


def _levels(factors: Sequence[Factor], factor: Factor, runs: Sequence[tuple[int, ...]]) -> Iterator[Contrast]:
    """Each further level of a factor against its first, over all settings of the others."""
    place = factors.index(factor)
    each = len(runs) / len(factor.levels)
    for n, level in enumerate(factor.levels[1:], start=1):
        yield Contrast(
            name=f"{factor.name}: {level.name} vs {factor.levels[0].name}",
            coefficients=tuple((float(run[place] == n) - float(run[place] == 0)) / each for run in runs),
        )


def _told(word: Word) -> str:
    return "*".join(sorted(word))


def plan_hash(experiment: Experiment) -> str:
    """Sixteen hex digits that change with whatever makes numbers from before and after incomparable."""
    plan = msgspec.structs.replace(
        experiment, alpha=0.05, people_expected=2_000, report_every_s=1.0, adaptive=None, ends=""
    )
    return hashlib.sha256(msgspec.msgpack.encode(plan, order="deterministic")).hexdigest()[:16]


def treated(placement: "Placement", arm: Treatment) -> "Placement":
    """The placement as an arm has it."""
    changes = {
        "policy": arm.policy,
        "models": arm.models,
        "slate": arm.slate,
        "channel": arm.channel,
        "candidate": None
        if arm.items is None
        else tuple(candidate for candidate in placement.candidate if candidate.item in arm.items),
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return msgspec.structs.replace(placement, **given) if given else placement
