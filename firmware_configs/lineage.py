"""Lineage: derived from the profile and the bundles, never written by hand.

raw field → transform → feature → the bundle's declared input → placement → what leaves.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from firmware_configs import template
from firmware_configs.expressions import compile_expression, paths
from firmware_configs.profile import (
    Arm,
    Dwell,
    Level,
    LifetimeValue,
    OnEvent,
    Outcome,
    Placement,
    Profile,
    Rate,
    ReturnVisit,
    TimeTo,
    Worth,
)

Kind = Literal[
    "field",
    "feature",
    "model",
    "rule",
    "trigger",
    "identity",
    "placement",
    "outcome",
    "metric",
    "segment",
    "objective",
    "egress",
]
STATE: Final = "state of the device"
"""Where it comes from that tells of the device and of nobody: counters, version, health, duration of its steps."""

ALERT: Final = "egress alert"
"""How an alert's name begins: it says that something moved or is missed, and nothing of what it was collected for."""


class BundleNeeds(Struct, frozen=True, kw_only=True):
    """What lineage must know of a bundle; `models` reads it from bundle.toml."""

    name: str
    version: str
    needed_fields: tuple[str, ...]
    features: tuple[tuple[str, str], ...] = ()
    """(feature's name, field it reads; empty for features of time)."""
    card: str = ""
    """Its card, Markdown; empty: it has none."""


class Step(Struct, frozen=True, kw_only=True):
    """One arrow."""

    source: str
    target: str
    how: str = ""


class Lineage(Struct, frozen=True, kw_only=True):
    """All arrows, and what they leave over."""

    steps: tuple[Step, ...]
    unused: tuple[str, ...]
    """Collected fields that no model, rule, trigger, example, outcome or metric needs: a finding."""
    missing: tuple[str, ...]
    """`model needs field` where the profile does not collect it: such a bundle cannot be loaded."""


def derive(profile: Profile, bundles: Sequence[BundleNeeds] = ()) -> Lineage:
    """The lineage of a profile with these bundles; models without a bundle at hand are taken to need all that
    their placements' sources collect, which can hide an unused field: pass the bundles for a proof."""
    known = {bundle.name: bundle for bundle in bundles}
    fields = {field.name: source.name for source in profile.source for field in source.field}
    steps: list[Step] = []
    used: set[str] = set()
    for source in profile.source:
        for field in source.field:
            transform = str(field.transform.__struct_config__.tag)
            path = field.path or field.name
            steps.append(Step(source=f"{source.name}:{path}", target=f"field {field.name}", how=transform))
    missing: list[str] = []
    for model in profile.model:
        need = _needed(profile, model.name, known)
        for name in need:
            if name in fields:
                used.add(name)
            else:
                missing.append(f"{model.name} needs {name}")
        steps += _model_steps(model.name, need, known)
        for learn in model.learn:
            used.update(name for name in (learn.item, learn.label_field) if name)
            steps += [
                Step(source=f"field {name}", target=f"examples of {model.name}", how="learn")
                for name in (learn.item, learn.label_field)
                if name
            ]
    steps += _trained_steps(profile)
    for place in profile.placement:
        own = _placement_fields(place)
        used |= own
        steps += [Step(source=f"field {name}", target=f"placement {place.name}", how="rule") for name in sorted(own)]
        steps += [
            Step(source=f"model {name}", target=f"placement {place.name}", how=how) for name, how in scoring(place)
        ]
    for name, target, how in _outcome_fields(profile):
        used.add(name)
        steps.append(Step(source=f"field {name}", target=target, how=how))
    steps += _outcome_steps(profile)
    steps += _watched_steps(profile)
    for actuator in profile.actuator:
        read = {name for limit in actuator.limit for name in paths(compile_expression(limit.never), "fields")}
        used |= read
        steps += [Step(source=f"field {n}", target=f"actuator {actuator.name}", how="limit") for n in sorted(read)]
    for name, target, how in _delivery_fields(profile):
        used.add(name)
        steps.append(Step(source=f"field {name}", target=target, how=how))
    identity = _identity_steps(profile)
    used.update(step.source.removeprefix("field ") for step in identity if step.source.startswith("field "))
    steps += identity
    steps += _egress_steps(profile)
    return Lineage(
        steps=tuple(dict.fromkeys(steps)),
        unused=tuple(name for name in fields if name not in used),
        missing=tuple(missing),
    )


def scoring(place: Placement) -> list[tuple[str, str]]:
    """(model, what for) of all models that a placement may ask, those of its experiment's arms and levels too."""
    found = [(name, "score") for name in place.models]
    for treatment in _treatments(place):
        found += [(name, f"score for `{treatment.name}`") for name in treatment.models or ()]
    if place.delivery is not None and place.delivery.moment is not None:
        found.append((place.delivery.moment.model, "moment"))
    return list({name: (name, how) for name, how in reversed(found)}.values())[::-1]


def named(profile: Profile, asked: str) -> str | None:
    """The field that is meant by `field`, `source.field` or `source:path`, as lineage prints it; None: none is."""
    for source in profile.source:
        for field in source.field:
            if asked in {field.name, f"{source.name}.{field.name}", f"{source.name}:{field.path or field.name}"}:
                return field.name
    return None


def why(lineage: Lineage, field: str) -> list[Step]:
    """Every arrow that can be reached from a field."""
    reached, found = {f"field {field}"}, []
    changed = True
    while changed:
        changed = False
        for step in lineage.steps:
            if step.source in reached and step not in found:
                found.append(step)
                reached.add(step.target)
                changed = True
    return found


def _needed(profile: Profile, model: str, known: Mapping[str, BundleNeeds]) -> tuple[str, ...]:
    if model in known:
        return known[model].needed_fields
    sources = {
        place.trigger.source
        for place in profile.placement
        if model in dict(scoring(place)) and isinstance(place.trigger, OnEvent)
    }
    return tuple(field.name for source in profile.source if source.name in sources for field in source.field)


def _model_steps(model: str, need: Sequence[str], known: Mapping[str, BundleNeeds]) -> list[Step]:
    bundle = known.get(model)
    if bundle is None or not bundle.features:
        return [Step(source=f"field {name}", target=f"model {model}", how="assumed") for name in need]
    steps = [Step(source=f"field {field}", target=f"feature {name}") for name, field in bundle.features if field]
    return steps + [Step(source=f"feature {name}", target=f"model {model}") for name, _ in bundle.features]


def _trained_steps(profile: Profile) -> list[Step]:
    """What decisions earn becomes an example of the first model that scored; examples train the models of a fleet."""
    earned = {entry.placement for outcome in profile.outcome if outcome.reward for entry in outcome.credit}
    steps = [
        Step(source=f"placement {place.name}", target=f"examples of {first}", how="feedback")
        for place in profile.placement
        if place.reward or place.no_outcome is not None or place.name in earned
        for first in _first_models(place)
    ]
    taught = {step.target for step in steps} | {f"examples of {one.name}" for one in profile.model if one.learn}
    return steps + [
        Step(source=f"examples of {model.name}", target=f"model {model.name}", how="trained")
        for model in profile.model
        if model.federated and f"examples of {model.name}" in taught
    ]


def _first_models(place: Placement) -> Iterator[str]:
    """The first model that scores, of the placement and of each arm that scores with others."""
    yield from place.models[:1]
    for treatment in _treatments(place):
        yield from (treatment.models or ())[:1]


def _treatments(place: Placement) -> tuple[Arm | Level, ...]:
    if place.experiment is None:
        return ()
    return (*place.experiment.arms, *(level for factor in place.experiment.factors for level in factor.levels))


def _watched_steps(profile: Profile) -> list[Step]:
    """Detectors and objectives. Not among what needs a field: to watch one is no reason to collect it."""
    steps = []
    for detector in profile.drift:
        seen = f"field {detector.field}" if detector.watch == "input" else f"placement {detector.placement}"
        steps.append(Step(source=seen, target=f"drift {detector.name}", how="watched"))
    for objective in profile.objective:
        measured = f"placement {objective.placement}" if objective.placement else STATE
        steps.append(Step(source=measured, target=f"objective {objective.name}", how=objective.indicator))
    return steps


def _placement_fields(place: Placement) -> set[str]:
    texts = [rule.when for rule in place.rule]
    if isinstance(place.trigger, OnEvent) and place.trigger.when:
        texts.append(place.trigger.when)
    return {name for text in texts for name in paths(compile_expression(text), "fields")}


def _outcome_fields(profile: Profile) -> list[tuple[str, str, str]]:
    """(field, what it serves, how) of everything that says what becomes of decisions."""
    found: list[tuple[str, str, str]] = []

    def read(target: str, texts: Sequence[str], named: Sequence[str]) -> None:
        found.extend(
            (name, target, "condition") for text in texts if text for name in paths(compile_expression(text), "fields")
        )
        found.extend((name, target, "value") for name in named if name)

    for view in profile.view:
        for place in view.placements:
            read(f"views of {place}", (view.start, view.end), (view.decision, view.item))
    for outcome in profile.outcome:
        read(f"outcome {outcome.name}", (outcome.when,), (outcome.value_field, *(c.item for c in outcome.credit)))
    for metric in profile.metric:
        measure = metric.measure
        if isinstance(measure, ReturnVisit | LifetimeValue):
            field = measure.value_field if isinstance(measure, LifetimeValue) else ""
            read(f"metric {metric.name}", (measure.when,), (field,))
    for segment in profile.segment:
        read(f"segment {segment.name}", (segment.when,), ())
    return list(dict.fromkeys(found))


def _outcome_steps(profile: Profile) -> list[Step]:
    steps = [
        Step(source=f"outcome {outcome.name}", target=f"placement {entry.placement}", how=f"{_tag(outcome)} credit")
        for outcome in profile.outcome
        for entry in outcome.credit
    ]
    steps += [
        Step(source=f"model {segment.model}", target=f"segment {segment.name}", how="best candidate")
        for segment in profile.segment
        if segment.model
    ]
    for metric in profile.metric:
        target, measure = f"metric {metric.name}", metric.measure
        steps += [Step(source=f"placement {place}", target=target, how="observed") for place in metric.placements]
        if isinstance(measure, Rate | TimeTo | Worth):
            known = {outcome.name for outcome in profile.outcome} & set(measure.outcomes)
            steps += [Step(source=f"outcome {name}", target=target, how="observed") for name in sorted(known)]
        elif isinstance(measure, Dwell):
            steps += [Step(source=f"views of {place}", target=target, how="seconds") for place in metric.placements]
        steps += [Step(source=f"segment {segment.name}", target=target, how="grouped") for segment in profile.segment]
    return steps


def _tag(outcome: Outcome) -> str:
    return str(outcome.attribution.__struct_config__.tag)


def _delivery_fields(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """(field, what reads it, how) of channels and messages."""
    if profile.contact.zone_field:
        yield profile.contact.zone_field, "contact", "time zone"
    for channel in profile.channel:
        for one in channel.do_not_disturb:
            for name in sorted(paths(compile_expression(one.when), "fields")):
                yield name, f"channel {channel.name}", "do not disturb"
    for place in profile.placement:
        if place.delivery is not None:
            target = f"placement {place.name}"
            if place.delivery.holds:
                for name in sorted(paths(compile_expression(place.delivery.holds), "fields")):
                    yield name, target, "reason"
            for name in sorted(template.fields(place.delivery.title) | template.fields(place.delivery.text)):
                yield name, target, "text"


def _identity_steps(profile: Profile) -> list[Step]:
    """What links subjects, and whom it reaches: whatever is the same across a person's subjects."""
    identity = profile.identity
    if identity is None:
        return []
    read = [(one.field, str(one.kind)) for one in identity.link]
    read += [(one.field, str(one.kind)) for one in identity.evidence if one.field]
    read += [(one.field, "apart") for one in identity.apart]
    steps = [Step(source=f"field {name}", target="identity", how=how) for name, how in read]
    whose = [source.name for source in profile.source if source.subject]
    for one in identity.evidence:
        if not one.field:
            steps += [Step(source=f"times of {name}", target="identity", how=one.kind) for name in one.sources or whose]
    return steps + [Step(source="identity", target=f"placement {p.name}", how="person") for p in profile.placement]


def _egress_steps(profile: Profile) -> list[Step]:
    steps = []
    for egress in profile.egress:
        target = f"egress {egress.kind} → {egress.destination}"
        if egress.kind == "decision":
            steps += [Step(source=f"placement {p.name}", target=target) for p in profile.placement]
        elif egress.kind == "experiment":
            tried = [place.name for place in profile.placement if place.experiment is not None]
            steps += [Step(source=f"placement {name}", target=target, how="sums over people") for name in tried]
        elif egress.kind in {"email", "push"}:
            adapters = {c.name: c.adapter for c in profile.channel}
            steps += [
                Step(source=f"placement {p.name}", target=target, how="message")
                for p in profile.placement
                if p.delivery is not None and egress.destination in {adapters.get(c) for c in p.delivery.channels}
            ]
        elif egress.kind == "update":
            steps += [
                Step(source=f"examples of {m.name}", target=target, how="trained, clipped, int8")
                for m in profile.model
                if m.federated
            ]
        elif egress.kind == "statistic":
            steps += _statistic_steps(profile, target)
        elif egress.kind in {"status", "rejection", "alert", "late-event"}:
            steps += _told_steps(profile, egress.kind, target)
        elif egress.kind == "metric":
            steps += [Step(source=f"metric {m.name}", target=target, how="added up") for m in profile.metric]
            steps += [
                Step(source=f"outcome {o.name}", target=target, how="paths counted") for o in profile.outcome if o.paths
            ]
    return steps


def _statistic_steps(profile: Profile, target: str) -> list[Step]:
    steps = []
    for model in profile.model:
        steps += [Step(source=f"examples of {model.name}", target=target, how="counted by group")]
        if model.subgroups is not None:
            shown = [place.name for place in profile.placement if model.name in place.models]
            steps += [Step(source=f"placement {name}", target=target, how="counted by group") for name in shown]
            named = model.subgroups.segments
            steps += [Step(source=f"segment {name}", target=target, how="grouped") for name in named]
    for detector in profile.drift:
        if detector.fleet:
            steps.append(Step(source=f"drift {detector.name}", target=target, how="tenths of its reference"))
    return steps


def _told_steps(profile: Profile, kind: str, target: str) -> list[Step]:
    """What leaves to tell how a device is: nothing of people, but late events, which leave as they are kept."""
    if kind == "status":
        return [Step(source=STATE, target=target, how="counters and health")]
    if kind == "rejection":
        refused = [f"refused events of {source.name}" for source in profile.source]
        return [Step(source=name, target=target, how="reason and count, no content") for name in refused]
    if kind == "alert":
        seen = [f"objective {one.name}" for one in profile.objective] + [f"drift {one.name}" for one in profile.drift]
        return [Step(source=name, target=target, how="that it fires") for name in seen]
    late = [field.name for source in profile.source if source.late == "side" for field in source.field]
    return [Step(source=f"field {name}", target=target, how="its value, when it comes late") for name in late]
