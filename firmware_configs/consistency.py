"""What no type can say: the parts of a profile must agree with each other."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct

from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import compile_expression, paths
from firmware_configs.profile import Bucket, Learn, Model, OnEvent, Placement, Policy, Profile, Source
from firmware_configs.topics import filter_fault, topic_fault

RULE_NAMES = frozenset({"fields", "item", "hour", "weekday", "subject", "session"})
TRIGGER_NAMES = frozenset({"fields", "hour", "weekday", "subject", "session"})
_USUAL_SPECIFIER = re.compile(
    r"(?:[<>]=?|[=!]=)\d{1,6}(?:\.\d{1,6}){0,3}(?:,(?:[<>]=?|[=!]=)\d{1,6}(?:\.\d{1,6}){0,3})*"
)


class Fault(Struct, frozen=True):
    """One contradiction."""

    where: str
    what: str
    fix: str


def faults(profile: Profile) -> list[Fault]:
    """Everything that contradicts, in the order of the document."""
    return [
        *_duplicates(profile),
        *(fault for n, source in enumerate(profile.source) for fault in _source(profile, source, f"source[{n}]")),
        *(fault for n, model in enumerate(profile.model) for fault in _model(profile, model, f"model[{n}]")),
        *(
            fault
            for n, place in enumerate(profile.placement)
            for fault in _placement(profile, place, f"placement[{n}]")
        ),
        *_actuators(profile),
        *_egress(profile),
        *_forbidden(profile),
    ]


def _duplicates(profile: Profile) -> Iterator[Fault]:
    groups: dict[str, list[str]] = {
        "source": [s.name for s in profile.source],
        "source.field": [f.name for s in profile.source for f in s.field],
        "purpose": [p.name for p in profile.purpose],
        "model": [m.name for m in profile.model],
        "placement": [p.name for p in profile.placement],
        "actuator": [a.name for a in profile.actuator],
        "egress (kind)": [str(e.kind) for e in profile.egress],
    }
    for group, names in groups.items():
        for name, times in Counter(names).items():
            if times > 1:
                yield Fault(group, f"`{name}` stands {times} times", "give each its own name")


def _unknown(where: str, kind: str, names: Iterable[str], known: Iterable[str]) -> Iterator[Fault]:
    there = sorted(set(known))
    for name in names:
        if name not in there:
            yield Fault(
                where,
                f"there is no {kind} `{name}`",
                f"declare it, or use one of: {', '.join(there) or 'none'}",
            )


def _purposes(profile: Profile) -> list[str]:
    return [p.name for p in profile.purpose]


def _fields(profile: Profile) -> list[str]:
    return [f.name for s in profile.source for f in s.field]


def _source(profile: Profile, source: Source, where: str) -> Iterator[Fault]:
    for n, field in enumerate(source.field):
        at = f"{where}.field[{n}]"
        yield from _unknown(f"{at}.purposes", "purpose", field.purposes, _purposes(profile))
        if field.category not in profile.retention:
            fix = f'add `"{field.category}" = {{ days = … }}` to [retention]'
            yield Fault(f"{at}.category", f"`{field.category}` has no retention", fix)
        if isinstance(field.transform, Bucket) and list(field.transform.edges) != sorted(set(field.transform.edges)):
            yield Fault(f"{at}.transform.edges", "edges must ascend", "sort them and remove repeats")
        numeric = field.transform.__struct_config__.tag in {"bucket", "round", "coarse-location"}
        if numeric and field.type != "number":
            tag = field.transform.__struct_config__.tag
            yield Fault(
                f"{at}.transform",
                f"`{tag}` needs a number, the field is {field.type}",
                "change type or transform",
            )
    if fault := filter_fault(source.topic.replace("{device}", "d")):
        yield Fault(f"{where}.topic", f"`{source.topic}` is not a topic filter", fault)


def _model(profile: Profile, model: Model, where: str) -> Iterator[Fault]:
    yield from _unknown(f"{where}.purposes", "purpose", model.purposes, _purposes(profile))
    if not _is_specifier(model.versions):
        yield Fault(f"{where}.versions", f"`{model.versions}` is not a version specifier", "write it like `>=1.0,<2`")
    if model.federated and "update" not in {e.kind for e in profile.egress}:
        fix = 'add an [[egress]] with kind = "update", or set federated = false'
        yield Fault(f"{where}.federated", "no [[egress]] lets an update out", fix)
    for n, learn in enumerate(model.learn):
        yield from _learn(profile, learn, f"{where}.learn[{n}]")


def _is_specifier(text: str) -> bool:
    """Whether PEP 440 knows it. The usual forms are seen at a glance: the library takes 10 ms to import."""
    if _USUAL_SPECIFIER.fullmatch(text):
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True


def _learn(profile: Profile, learn: Learn, where: str) -> Iterator[Fault]:
    yield from _unknown(f"{where}.source", "source", [learn.source], [s.name for s in profile.source])
    own = [f.name for s in profile.source if s.name == learn.source for f in s.field]
    named = [name for name in (learn.item, learn.label_field) if name]
    yield from _unknown(where, f"field of source `{learn.source}`", named, own)
    if (learn.label is None) == (not learn.label_field):
        yield Fault(where, "exactly one of `label` and `label_field` is needed", "write the one that applies")


def _placement(profile: Profile, place: Placement, where: str) -> Iterator[Fault]:
    yield from _unknown(f"{where}.purposes", "purpose", place.purposes, _purposes(profile))
    yield from _unknown(f"{where}.models", "model", place.models, [m.name for m in profile.model])
    if isinstance(place.trigger, OnEvent):
        yield from _unknown(
            f"{where}.trigger.source", "source", [place.trigger.source], [s.name for s in profile.source]
        )
        if place.trigger.when:
            yield from _expression(profile, f"{where}.trigger.when", place.trigger.when, TRIGGER_NAMES)
    if place.actuator:
        yield from _unknown(f"{where}.actuator", "actuator", [place.actuator], [a.name for a in profile.actuator])
    for n, rule in enumerate(place.rule):
        yield from _expression(profile, f"{where}.rule[{n}].when", rule.when, RULE_NAMES)
    for n, candidate in enumerate(place.candidate):
        if candidate.score:
            names = frozenset(m.replace("-", "_") for m in place.models)
            yield from _expression(profile, f"{where}.candidate[{n}].score", candidate.score, names)
    yield from _choices(profile, place, where)


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
    if place.experiment is not None:
        policies: list[Policy | None] = [arm.policy for arm in place.experiment.arms]
        if len({arm.name for arm in place.experiment.arms}) != len(policies):
            yield Fault(f"{where}.experiment.arms", "arms share a name", "give each arm its own name")
    if place.actuator:
        known = {item for a in profile.actuator if a.name == place.actuator for item in a.payloads}
        yield from _unknown(f"{where}.candidate", f"payload of actuator `{place.actuator}` for", items, known)


def _expression(profile: Profile, where: str, text: str, allowed: frozenset[str]) -> Iterator[Fault]:
    try:
        expression = compile_expression(text)
    except ExpressionError as error:
        yield Fault(where, error.what, error.hint)
        return
    # Names bound by a macro (`list.exists(x, x > 1)`) look like free names; single letters are let through.
    free = {name for name in expression.names if len(name) > 1}
    yield from _unknown(where, "name", sorted(free - allowed), allowed)
    yield from _unknown(where, "field", sorted(paths(expression, "fields")), _fields(profile))


def _actuators(profile: Profile) -> Iterator[Fault]:
    for n, actuator in enumerate(profile.actuator):
        if fault := topic_fault(actuator.topic.replace("{device}", "d")):
            yield Fault(f"actuator[{n}].topic", f"`{actuator.topic}` is not a topic", fault)


def _egress(profile: Profile) -> Iterator[Fault]:
    for n, egress in enumerate(profile.egress):
        where = f"egress[{n}]"
        yield from _unknown(f"{where}.purposes", "purpose", egress.purposes, _purposes(profile))
        if (egress.kind == "update") != (egress.destination == "superlink"):
            fix = 'destination = "superlink" for updates, "mqtt" for the rest'
            yield Fault(f"{where}.destination", f"`{egress.kind}` cannot go to `{egress.destination}`", fix)
        if egress.kind == "update" and egress.privacy is None:
            yield Fault(where, "an update without [egress.privacy]", "declare at least clip_norm")
    kinds = {e.kind for e in profile.egress}
    if profile.placement and "decision" not in kinds:
        yield Fault("egress", "placements decide, but no [[egress]] lets a decision out", 'add kind = "decision"')
    for n, source in enumerate(profile.source):
        if source.late == "side" and "late-event" not in kinds:
            fix = 'add an [[egress]] with kind = "late-event", or choose apply or drop'
            yield Fault(f"source[{n}].late", "`side` publishes, but no [[egress]] lets late events out", fix)


def _forbidden(profile: Profile) -> Iterator[Fault]:
    categories = set(profile.sensitive.forbidden_categories)
    for n, source in enumerate(profile.source):
        for m, field in enumerate(source.field):
            if any(field.category == c or field.category.startswith(f"{c}.") for c in categories):
                where = f"source[{n}].field[{m}].category"
                yield Fault(where, f"`{field.category}` is forbidden by [sensitive]", "do not collect it")
    for n, purpose in enumerate(profile.purpose):
        if purpose.name in profile.sensitive.forbidden_purposes:
            yield Fault(f"purpose[{n}]", f"`{purpose.name}` is forbidden by [sensitive]", "remove the purpose")
