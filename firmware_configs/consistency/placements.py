"""Placements: what they name must be there, and their expressions must compile."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from firmware_configs import designs
from firmware_configs.consistency.experiments import experiment_faults
from firmware_configs.consistency.fault import Fault, fields, purposes, unknown
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import compile_expression, paths
from firmware_configs.profile import Experiment, OnEvent, Placement, Profile

RULE_NAMES = frozenset({"fields", "item", "hour", "weekday", "subject", "session"})
TRIGGER_NAMES = frozenset({"fields", "hour", "weekday", "subject", "session"})


def placement_faults(profile: Profile, place: Placement, where: str) -> Iterator[Fault]:
    """What contradicts in one placement."""
    yield from unknown(f"{where}.purposes", "purpose", place.purposes, purposes(profile))
    yield from unknown(f"{where}.models", "model", place.models, [m.name for m in profile.model])
    if isinstance(place.trigger, OnEvent):
        yield from unknown(
            f"{where}.trigger.source", "source", [place.trigger.source], [s.name for s in profile.source]
        )
        if place.trigger.when:
            yield from expression_faults(profile, f"{where}.trigger.when", place.trigger.when, TRIGGER_NAMES)
    if place.actuator:
        yield from unknown(f"{where}.actuator", "actuator", [place.actuator], [a.name for a in profile.actuator])
    for n, rule in enumerate(place.rule):
        yield from expression_faults(profile, f"{where}.rule[{n}].when", rule.when, RULE_NAMES)
    for n, candidate in enumerate(place.candidate):
        if candidate.score:
            names = frozenset(m.replace("-", "_") for m in place.models)
            yield from expression_faults(profile, f"{where}.candidate[{n}].score", candidate.score, names)
    yield from _choices(profile, place, where)
    if place.experiment is not None:
        wrong = list(experiment_faults(place.experiment, place, f"{where}.experiment"))
        yield from wrong or _treated(profile, place, place.experiment, where)


def _treated(profile: Profile, place: Placement, experiment: Experiment, where: str) -> Iterator[Fault]:
    """What contradicts in the placement as an arm has it, and not without the arm."""
    plain = msgspec.structs.replace(place, experiment=None)
    known = {(fault.where, fault.what) for fault in placement_faults(profile, plain, where)}
    for arm in designs.arms(experiment)[: designs.ARMS_MAX]:
        for fault in placement_faults(profile, designs.treated(plain, arm), where):
            if (fault.where, fault.what) not in known:
                at = fault.where.replace(where, f"{where}.experiment: arm {arm.name}", 1)
                yield Fault(at, fault.what, fault.fix)


def _choices(profile: Profile, place: Placement, where: str) -> Iterator[Fault]:
    items = [c.item for c in place.candidate]
    for item, times in Counter(items).items():
        if times > 1:
            yield Fault(f"{where}.candidate", f"`{item}` stands {times} times", "name each candidate once")
    if not place.candidate and not place.models:
        yield Fault(
            where,
            "neither candidates nor models: nothing to choose from",
            "add [[placement.candidate]] or models",
        )
    if place.candidate and place.fallback and place.fallback not in items:
        yield Fault(f"{where}.fallback", f"`{place.fallback}` is not a candidate", f"use one of: {', '.join(items)}")
    outcomes = [r.outcome for r in place.reward]
    for outcome, times in Counter(outcomes).items():
        if times > 1:
            yield Fault(f"{where}.reward", f"`{outcome}` stands {times} times", "one value an outcome")
    if place.actuator:
        known = {item for a in profile.actuator if a.name == place.actuator for item in a.payloads}
        yield from unknown(f"{where}.candidate", f"payload of actuator `{place.actuator}` for", items, known)


def expression_faults(profile: Profile, where: str, text: str, allowed: frozenset[str]) -> Iterator[Fault]:
    """Whether an expression compiles, within its bounds, and speaks only of what is there."""
    try:
        expression = compile_expression(text)
    except ExpressionError as error:
        yield Fault(where, error.what, error.hint)
        return
    yield from unknown(where, "name", sorted(expression.names - allowed), allowed)
    yield from unknown(where, "field", sorted(paths(expression, "fields")), fields(profile))
