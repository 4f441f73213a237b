"""Sources, and the models that learn from them."""

import re
from collections.abc import Iterator

from firmware_configs.consistency.fault import Fault, purposes, unknown
from firmware_configs.profile import Bucket, Learn, Model, Profile, Source
from firmware_configs.topics import filter_fault

_USUAL_SPECIFIER = re.compile(
    r"(?:[<>]=?|[=!]=)\d{1,6}(?:\.\d{1,6}){0,3}(?:,(?:[<>]=?|[=!]=)\d{1,6}(?:\.\d{1,6}){0,3})*"
)


def source_faults(profile: Profile, source: Source, where: str) -> Iterator[Fault]:
    """What contradicts in one source."""
    for n, field in enumerate(source.field):
        at = f"{where}.field[{n}]"
        yield from unknown(f"{at}.purposes", "purpose", field.purposes, purposes(profile))
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


def model_faults(profile: Profile, model: Model, where: str) -> Iterator[Fault]:
    """What contradicts in one model."""
    yield from unknown(f"{where}.purposes", "purpose", model.purposes, purposes(profile))
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
    yield from unknown(f"{where}.source", "source", [learn.source], [s.name for s in profile.source])
    own = [f.name for s in profile.source if s.name == learn.source for f in s.field]
    named = [name for name in (learn.item, learn.label_field) if name]
    yield from unknown(where, f"field of source `{learn.source}`", named, own)
    if (learn.label is None) == (not learn.label_field):
        yield Fault(where, "exactly one of `label` and `label_field` is needed", "write the one that applies")
