"""An experiment's sums, read: intervals, evidence, mismatch, and a verdict in words. May be asked at any time."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from firmware_configs import designs
from firmware_configs.profile import Experiment, ExperimentMetric
from models.experiments import discoveries, mismatch, sequences
from models.experiments.effects import effect
from models.experiments.sums import F64, WIDTH, added

State = Literal["unknown", "no difference yet", "better", "worse", "safe", "harmed"]


class Comparison(Struct, frozen=True, kw_only=True):
    """One contrast of arms in one metric, in the metric's own unit."""

    contrast: str
    metric: str
    role: str
    value: float
    low: float
    high: float
    """The interval holds at every time of looking, with probability 1 - alpha (guards: all of them together)."""
    evidence: float
    """e-value against no difference; capped at 1e300."""
    people: float
    variance_reduction: float
    """Share of the variance that CUPED took away."""
    state: State
    """goal: better or worse when it may be claimed among all comparisons (e-BH); guard: safe or harmed."""
    aliases: tuple[str, ...] = ()


class ArmFigures(Struct, frozen=True, kw_only=True):
    """One arm."""

    name: str
    people: float
    share: float
    """Probability of it under the newest allocation."""
    means: dict[str, float]


class Analysis(Struct, frozen=True, kw_only=True):
    """All that the sums say."""

    experiment: str
    people: float
    arms: tuple[ArmFigures, ...]
    comparisons: tuple[Comparison, ...]
    mismatch: float
    """e-value against "people came into the arms as declared"; capped at 1e300."""
    mismatched: bool
    verdict: str


def declared(experiment: Experiment) -> list[float]:
    """Probability of each arm before anything was moved."""
    weights = [arm.weight for arm in designs.arms(experiment)]
    return [weight / sum(weights) for weight in weights]


def analyse(
    experiment: Experiment, tables: Mapping[int, F64], shares: Mapping[int, Sequence[float]], noise: float = 0.0
) -> Analysis:
    """Read the sums of an experiment.

    Args:
        tables: as in `sums`, added up over devices.
        shares: allocation → probability of each arm; 0 is what the profile declares.
        noise: standard deviation of the noise that was added to each sum for privacy; 0: none.
    """
    total = added([{0: table} for table in tables.values()]).get(0)
    made = designs.arms(experiment)
    if total is None:
        total = np.zeros((len(made), 1 + WIDTH * len(experiment.metric)))
    strange = mismatch.evidence({n: table[:, 0] for n, table in tables.items()}, shares, noise)
    mismatched = strange >= -math.log(mismatch.ALPHA)
    comparisons = _comparisons(experiment, tables, shares, noise)
    newest = shares[max(shares)]
    arms = tuple(
        ArmFigures(name=arm.name, people=float(row[0]), share=float(newest[n]), means=_means(experiment, row))
        for n, (arm, row) in enumerate(zip(made, total, strict=True))
    )
    return Analysis(
        experiment=experiment.name,
        people=float(total[:, 0].sum()),
        arms=arms,
        comparisons=comparisons,
        mismatch=_capped(strange),
        mismatched=mismatched,
        verdict=_verdict(comparisons, arms, mismatched=mismatched),
    )


def _comparisons(
    experiment: Experiment, tables: Mapping[int, F64], shares: Mapping[int, Sequence[float]], noise: float
) -> tuple[Comparison, ...]:
    rho2 = sequences.tuned(float(experiment.people_expected), experiment.alpha)
    pairs = [(contrast, n) for contrast in designs.contrasts(experiment) for n in range(len(experiment.metric))]
    goals = [k for k, (_, n) in enumerate(pairs) if experiment.metric[n].role == "goal"]
    found = [_one(experiment, tables, shares, pair, noise, rho2, len(pairs) - len(goals)) for pair in pairs]
    logs = [math.log(found[k].evidence) if found[k].evidence else -math.inf for k in goals]
    claimed = dict(zip(goals, discoveries.by_evidence(logs, experiment.alpha), strict=True))
    return tuple(
        _judged(one, experiment.metric[n], bool(claimed.get(k)))
        for k, (one, (_, n)) in enumerate(zip(found, pairs, strict=True))
    )


def _one(
    experiment: Experiment,
    tables: Mapping[int, F64],
    shares: Mapping[int, Sequence[float]],
    pair: tuple[designs.Contrast, int],
    noise: float,
    rho2: float,
    guards: int,
) -> Comparison:
    contrast, n = pair
    metric = experiment.metric[n]
    width = metric.upper - metric.lower
    alpha = experiment.alpha / guards if metric.role == "guard" else experiment.alpha
    seen = effect(tables, shares, contrast.coefficients, n, noise)
    if seen is None:
        value, half, evidence, people, reduction = 0.0, width, 1.0, 0.0, 0.0
    else:
        variance = np.array(seen.variance + seen.noise * seen.people)
        count, mean = np.array(seen.people), np.array(seen.value)
        half = width * float(sequences.margin(count, variance, rho2, alpha))
        evidence = _capped(float(sequences.log_evidence(count, mean, variance, rho2)))
        value, people, reduction = width * seen.value, seen.people, seen.reduction
    return Comparison(
        contrast=contrast.name,
        metric=metric.name,
        role=metric.role,
        value=value,
        low=value - half,
        high=value + half,
        evidence=evidence,
        people=people,
        variance_reduction=reduction,
        state="unknown",
        aliases=contrast.aliases,
    )


def _judged(one: Comparison, metric: ExperimentMetric, claimed: bool) -> Comparison:
    if not one.people:
        return one
    sign = 1.0 if metric.better == "higher" else -1.0
    best, worst = (one.high, one.low) if sign > 0 else (-one.low, -one.high)
    state: State = "no difference yet"
    if metric.role == "guard":
        state = "harmed" if best < -metric.margin else "safe" if worst > -metric.margin else "unknown"
    elif claimed:
        state = "better" if sign * one.value > 0.0 else "worse"
    return replace(one, state=state)


def _means(experiment: Experiment, row: F64) -> dict[str, float]:
    if row[0] < 1.0:
        return {}
    return {
        metric.name: metric.lower + (metric.upper - metric.lower) * (float(row[1 + WIDTH * n] / row[0]) + 0.5)
        for n, metric in enumerate(experiment.metric)
    }


def _capped(log_evidence: float) -> float:
    return math.exp(min(max(log_evidence, -690.0), 690.0))


def _verdict(comparisons: Sequence[Comparison], arms: Sequence[ArmFigures], *, mismatched: bool) -> str:
    if mismatched:
        counted = ", ".join(f"{arm.name} {arm.people:,.0f}" for arm in arms)
        return (
            f"do not read the result: people did not come into the arms as declared ({counted}); something loses or "
            "repeats people in some arms"
        )
    told = [_told(one) for one in comparisons if one.state in {"better", "worse", "harmed"}]
    if told:
        return "; ".join(told)
    people = sum(arm.people for arm in arms)
    if not any(one.people for one in comparisons):
        return f"nothing can be said yet: {people:,.0f} people have been measured, and some arms have nobody"
    widest = max((one for one in comparisons if one.role == "goal"), key=lambda one: one.high - one.low)
    return (
        f"no difference may be claimed yet after {people:,.0f} people; {widest.contrast} in {widest.metric} lies "
        f"between {widest.low:+.4g} and {widest.high:+.4g}"
    )


def _told(one: Comparison) -> str:
    between = f"by {one.value:+.4g} (between {one.low:+.4g} and {one.high:+.4g})"
    confused = f"; or this is {' or '.join(one.aliases)}" if one.aliases else ""
    if one.role == "guard":
        return f"{one.contrast} harms {one.metric} beyond its margin, {between}"
    return f"{one.contrast} is {one.state} in {one.metric}, {between}{confused}"
