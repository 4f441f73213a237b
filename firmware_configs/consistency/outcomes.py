"""Views, outcomes, metrics and segments: what they name must be there, and their numbers must make sense together."""

from collections import Counter
from collections.abc import Collection, Iterator

from firmware_configs.business import business_shape_of
from firmware_configs.consistency.fault import Fault, purposes, unknown
from firmware_configs.consistency.placements import expression_faults
from firmware_configs.profile import (
    Dwell,
    LifetimeValue,
    Metric,
    OnEvent,
    Outcome,
    PositionBased,
    Profile,
    Rate,
    ReturnVisit,
    Segment,
    TimeTo,
    View,
    Worth,
)

EVENT_NAMES = frozenset({"fields"})
SEGMENT_NAMES = frozenset({"fields", "features", "session", "hour", "weekday"})
RESERVED = "reward"
DAY_S = 86_400.0
OTHER = "other"
"""The segment of whoever is in none."""


def outcome_faults(profile: Profile) -> Iterator[Fault]:
    """What contradicts in everything that says what becomes of decisions."""
    for n, view in enumerate(profile.view):
        yield from _view(profile, view, f"view[{n}]")
    for n, outcome in enumerate(profile.outcome):
        yield from _outcome(profile, outcome, f"outcome[{n}]")
    for n, metric in enumerate(profile.metric):
        yield from _metric(profile, metric, f"metric[{n}]")
    for n, segment in enumerate(profile.segment):
        yield from _segment(profile, segment, f"segment[{n}]")
    yield from _caps(profile)
    if profile.segment and not profile.metric and not any(model.subgroups for model in profile.model):
        fix = "declare a metric or [model.subgroups], or remove the segments"
        yield Fault("segment", "segments without a [[metric]] or [model.subgroups]", fix)
    for n, egress in enumerate(profile.egress):
        if egress.kind != "metric" or egress.privacy is None:
            continue
        if egress.privacy.unit != "device":
            what = "totals of metrics are bounded a device"
            yield Fault(f"egress[{n}].privacy", what, 'remove unit, or write unit = "device"')
        if egress.privacy.secret_sum and not profile.model:
            what = "a secret sum is made by the learner, and the profile has no model for which one would run"
            yield Fault(f"egress[{n}].privacy.secret_sum", what, "add a [[model]], or remove secret_sum")
        if egress.privacy.secret_sum and not business_shape_of(profile).groups:
            what = "no metric is a share or a value that could be added up"
            fix = "declare a [[metric]] of kind rate, return, value or lifetime-value"
            yield Fault(f"egress[{n}].privacy.secret_sum", what, fix)


def _event(profile: Profile, where: str, source: str, texts: dict[str, str], named: Collection[str]) -> Iterator[Fault]:
    """An event's source, expressions over its fields, and fields of it that are named."""
    yield from unknown(f"{where}.source", "source", [source], [s.name for s in profile.source])
    own = [f.name for s in profile.source if s.name == source for f in s.field]
    yield from unknown(where, f"field of source `{source}`", [name for name in named if name], own)
    for key, text in texts.items():
        if text:
            yield from expression_faults(profile, f"{where}.{key}", text, EVENT_NAMES)


def _placements(profile: Profile, where: str, names: Collection[str]) -> Iterator[Fault]:
    yield from unknown(where, "placement", names, [p.name for p in profile.placement])
    for name, times in Counter(names).items():
        if times > 1:
            yield Fault(where, f"`{name}` stands {times} times", "name each placement once")


def _number(profile: Profile, where: str, source: str, field: str) -> Iterator[Fault]:
    types = {f.name: f.type for s in profile.source if s.name == source for f in s.field}
    if types.get(field, "number") != "number":
        yield Fault(where, f"`{field}` is {types[field]}, a value is a number", "name a field of type number")


def _outlives(profile: Profile, where: str, placements: Collection[str], window_s: float) -> Iterator[Fault]:
    """A window must not be open for longer than the decision is kept: as long as the data that it was made from."""
    for place in [one for one in profile.placement if one.name in placements]:
        source = place.trigger.source if isinstance(place.trigger, OnEvent) else ""
        days = [
            profile.retention[field.category].days
            for one in profile.source
            for field in one.field
            if (not source or one.name == source) and field.category in profile.retention
        ]
        if days and window_s > min(days) * DAY_S:
            what = f"open for {window_s / DAY_S:g} days, and decisions of `{place.name}` are kept for {min(days):g}"
            yield Fault(where, what, "shorten it, or lengthen [retention]")


def _view(profile: Profile, view: View, where: str) -> Iterator[Fault]:
    texts = {"start": view.start, "end": view.end}
    yield from _event(profile, where, view.source, texts, (view.decision, view.item))
    yield from _placements(profile, f"{where}.placements", view.placements)


def _outcome(profile: Profile, outcome: Outcome, where: str) -> Iterator[Fault]:
    named = [outcome.value_field, *(entry.item for entry in outcome.credit)]
    yield from _event(profile, where, outcome.source, {"when": outcome.when}, named)
    yield from _number(profile, f"{where}.value_field", outcome.source, outcome.value_field)
    yield from unknown(f"{where}.purposes", "purpose", outcome.purposes, purposes(profile))
    yield from _placements(profile, f"{where}.credit", [entry.placement for entry in outcome.credit])
    viewed = {name for view in profile.view for name in view.placements}
    for n, entry in enumerate(outcome.credit):
        yield from _outlives(profile, f"{where}.credit[{n}].window_s", [entry.placement], entry.window_s)
        if entry.seen and entry.placement not in viewed:
            fix = "add a [[view]] for it, or set seen = false"
            yield Fault(f"{where}.credit[{n}].seen", f"nothing says when `{entry.placement}` was seen", fix)
    if outcome.value > outcome.value_max:
        yield Fault(f"{where}.value", f"{outcome.value:g} is above value_max", "raise value_max")
    model = outcome.attribution
    if isinstance(model, PositionBased) and model.first + model.last > 1.0:
        yield Fault(f"{where}.attribution", "first and last are more than one together", "lower one of them")


def _metric(profile: Profile, metric: Metric, where: str) -> Iterator[Fault]:
    yield from unknown(f"{where}.purposes", "purpose", metric.purposes, purposes(profile))
    yield from _placements(profile, f"{where}.placements", metric.placements)
    if metric.name == RESERVED:
        yield Fault(f"{where}.name", "`reward` is every placement's own metric", "choose another name")
    if not metric.lower < metric.upper:
        yield Fault(f"{where}.upper", "upper must be above lower", "say between what an observation lies")
    measure = metric.measure
    if isinstance(measure, ReturnVisit | LifetimeValue):
        days = measure.day + 1 if isinstance(measure, ReturnVisit) else measure.after_days
        yield from _outlives(profile, f"{where}.measure", metric.placements, days * DAY_S)
    else:
        yield from _outlives(profile, f"{where}.measure.window_s", metric.placements, measure.window_s)
    if isinstance(measure, Dwell):
        viewed = {name for view in profile.view for name in view.placements}
        yield from unknown(f"{where}.placements", "[[view]] of placement", metric.placements, viewed)
    elif isinstance(measure, Rate | TimeTo | Worth):
        known = {outcome.name for outcome in profile.outcome}
        known |= {r.outcome for p in profile.placement if p.name in metric.placements for r in p.reward}
        yield from unknown(f"{where}.measure.outcomes", "outcome", measure.outcomes, known)
        if isinstance(measure, TimeTo) and (metric.lower != 0.0 or metric.upper > measure.window_s):
            fix = "lower = 0 and upper at most window_s: the mean is restricted to upper"
            yield Fault(f"{where}.upper", "times are watched from 0 to the end of the window", fix)
    elif isinstance(measure, ReturnVisit | LifetimeValue):
        field = measure.value_field if isinstance(measure, LifetimeValue) else ""
        yield from _event(profile, f"{where}.measure", measure.source, {"when": measure.when}, [field])
        yield from _number(profile, f"{where}.measure.value_field", measure.source, field)


def _caps(profile: Profile) -> Iterator[Fault]:
    """Views are kept as one sum a decision, so they are capped alike."""
    known: dict[str, float] = {}
    for n, metric in enumerate(profile.metric):
        for place in metric.placements if isinstance(metric.measure, Dwell) else ():
            cap = metric.measure.cap_s if isinstance(metric.measure, Dwell) else 0.0
            if known.setdefault(place, cap) != cap:
                what = f"`{place}` has another dwell metric with cap_s = {known[place]:g}"
                yield Fault(f"metric[{n}].measure.cap_s", what, "use one cap_s for a placement")


def _segment(profile: Profile, segment: Segment, where: str) -> Iterator[Fault]:
    if bool(segment.when) == bool(segment.model):
        yield Fault(where, "exactly one of `when` and `model` is needed", "write the one that applies")
    if segment.when:
        yield from expression_faults(profile, f"{where}.when", segment.when, SEGMENT_NAMES)
    if segment.model:
        yield from unknown(f"{where}.model", "model", [segment.model], [m.name for m in profile.model])
    if segment.name == OTHER:
        yield Fault(f"{where}.name", "`other` is who is in no segment", "choose another name")
