"""Sources, and the models that learn from them."""

import re
from collections.abc import Iterator

from firmware_configs import capture
from firmware_configs.consistency.fault import Fault, purposes, unknown
from firmware_configs.consistency.placements import expression_faults
from firmware_configs.profile import Bucket, Learn, Model, Profile, Source, Subgroups
from firmware_configs.topics import filter_fault

_USUAL_SPECIFIER = re.compile(
    r"(?:[<>]=?|[=!]=)\d{1,6}(?:\.\d{1,6}){0,3}(?:,(?:[<>]=?|[=!]=)\d{1,6}(?:\.\d{1,6}){0,3})*"
)

_PAGE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


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
    if source.topic.startswith(capture.TOPIC):
        yield from _capture(source, where)


def _capture(source: Source, where: str) -> Iterator[Fault]:
    """What pages cannot fill of a source that they are to fill."""
    for name, needed in capture.FORM.items():
        if (given := getattr(source, name)) != needed:
            yield Fault(f"{where}.{name}", f"pages send it as `{needed}`, not `{given}`", f'write {name} = "{needed}"')
    if not _PAGE.fullmatch(source.topic.removeprefix(capture.TOPIC)):
        yield Fault(f"{where}.topic", "pages publish to one topic, not to several", "name one level, as in /page")
    for n, field in enumerate(source.field):
        if (path := field.path or field.name) not in capture.CAPTURED:
            known = ", ".join(capture.CAPTURED)
            yield Fault(f"{where}.field[{n}].path", f"pages send no `{path}`", f"use one of: {known}")


def model_faults(profile: Profile, model: Model, where: str) -> Iterator[Fault]:
    """What contradicts in one model."""
    yield from unknown(f"{where}.purposes", "purpose", model.purposes, purposes(profile))
    if not _is_specifier(model.versions):
        yield Fault(f"{where}.versions", f"`{model.versions}` is not a version specifier", "write it like `>=1.0,<2`")
    if model.federated and "update" not in {e.kind for e in profile.egress}:
        fix = 'add an [[egress]] with kind = "update", or set federated = false'
        yield Fault(f"{where}.federated", "no [[egress]] lets an update out", fix)
    if model.subgroups is not None:
        yield from _subgroups(profile, model.subgroups, f"{where}.subgroups")
    for n, learn in enumerate(model.learn):
        yield from _learn(profile, learn, f"{where}.learn[{n}]")


def _subgroups(profile: Profile, own: Subgroups, where: str) -> Iterator[Fault]:
    declared = {segment.name: segment for segment in profile.segment}
    yield from unknown(f"{where}.segments", "segment", own.segments, declared)
    if len(set(own.segments)) < len(own.segments):
        yield Fault(f"{where}.segments", "a segment is named twice", "name each once")
    for name in own.segments:
        if name in declared and not declared[name].when:
            fix = "name segments with `when`"
            yield Fault(f"{where}.segments", f"`{name}` is a model's word: the groups of a model are not fixed", fix)
        elif name in declared:
            # An example holds the features that were served, and nothing else of its time.
            yield from expression_faults(profile, f"{where}.segments", declared[name].when, frozenset({"features"}))
    if not any(e.kind == "statistic" and e.privacy is not None for e in profile.egress):
        fix = 'add an [[egress]] with kind = "statistic", destination = "superlink" and privacy with clip_norm'
        yield Fault(where, "groups are to be compared, and no bounded [[egress]] lets counts out", fix)


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
