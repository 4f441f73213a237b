"""Identity: what links subjects must be collected, of somebody, and for the purpose of linking."""

import math
from collections import Counter
from collections.abc import Iterator

from firmware_configs.consistency.fault import Fault, purposes, unknown
from firmware_configs.profile import CertainLink, Evidence, Identity, Keep, Profile, Source, SourceField

KEYED = ("same-value", "habit")


def identity_faults(profile: Profile) -> Iterator[Fault]:
    """What contradicts in [identity]."""
    identity = profile.identity
    if identity is None:
        return
    yield from unknown("identity.purposes", "purpose", identity.purposes, purposes(profile))
    if identity.maybe_at > identity.link_at:
        yield Fault("identity.maybe_at", "is above link_at", "choose one that is smaller")
    if not identity.link and not identity.evidence:
        yield Fault("identity", "nothing links anybody", "add [[identity.link]] or [[identity.evidence]]")
    if all(not source.subject for source in profile.source):
        yield Fault("identity", "no source says whom its events are about", "give a [[source]] its `subject`")
    names = [one.name for one in identity.link]
    names += [one.name for one in identity.evidence] + [one.name for one in identity.apart]
    for name, times in Counter(names).items():
        if times > 1:
            yield Fault("identity", f"`{name}` stands {times} times", "give each its own name")
    for n, link in enumerate(identity.link):
        yield from _link_faults(profile, identity, link, f"identity.link[{n}]")
    for n, evidence in enumerate(identity.evidence):
        yield from _evidence_faults(profile, identity, evidence, f"identity.evidence[{n}]")
    for n, apart in enumerate(identity.apart):
        yield from _field_faults(profile, identity, apart.field, f"identity.apart[{n}]")


def _link_faults(profile: Profile, identity: Identity, link: CertainLink, where: str) -> Iterator[Fault]:
    yield from _field_faults(profile, identity, link.field, where)
    for _, field in _declared(profile, link.field):
        if field.type != "text":
            yield Fault(f"{where}.field", f"`{link.field}` is no text", "name a text field")
        if link.kind == "pairing" and not isinstance(field.transform, Keep):
            fix = 'a pairing names a subject: transform = { kind = "keep" }'
            yield Fault(f"{where}.field", f"`{link.field}` does not come as the subject's own name", fix)


def _declared(profile: Profile, name: str) -> list[tuple[Source, SourceField]]:
    return [(source, field) for source in profile.source for field in source.field if field.name == name]


def _field_faults(profile: Profile, identity: Identity, name: str, where: str) -> Iterator[Fault]:
    found = _declared(profile, name)
    yield from unknown(f"{where}.field", "field", [name], [f.name for s in profile.source for f in s.field])
    for source, field in found:
        if not source.subject:
            fix = f"give source `{source.name}` its `subject`, or name another field"
            yield Fault(f"{where}.field", f"`{name}` is about nobody in particular", fix)
        if set(field.purposes).isdisjoint(identity.purposes):
            fix = f"add one of {', '.join(identity.purposes)} to the field's purposes, and tell people so"
            yield Fault(f"{where}.field", f"`{name}` is not collected to link people", fix)


def _evidence_faults(profile: Profile, identity: Identity, evidence: Evidence, where: str) -> Iterator[Fault]:
    if evidence.kind in KEYED:
        if evidence.field:
            yield from _field_faults(profile, identity, evidence.field, where)
        else:
            yield Fault(f"{where}.field", f"`{evidence.kind}` needs a field", "name the field that is compared")
        if evidence.sources:
            yield Fault(f"{where}.sources", f"`{evidence.kind}` goes by its field", "remove `sources`")
    else:
        if evidence.field:
            yield Fault(f"{where}.field", f"`{evidence.kind}` reads no field", "remove `field`")
        yield from unknown(f"{where}.sources", "source", evidence.sources, [s.name for s in profile.source])
    given = [evidence.edges, evidence.same, evidence.different]
    if any(given) and not all(given):
        yield Fault(where, "edges, same and different belong together", "write all three, or none")
        return
    if list(evidence.edges) != sorted(set(evidence.edges)) or any(not 0.0 < e <= 1.0 for e in evidence.edges):
        yield Fault(f"{where}.edges", "edges must ascend, above 0 and up to 1", "sort them and remove repeats")
    for name, levels in (("same", evidence.same), ("different", evidence.different)):
        if levels and len(levels) != len(evidence.edges) + 1:
            fix = f"{len(evidence.edges) + 1}: one more than edges"
            yield Fault(f"{where}.{name}", f"{len(levels)} probabilities", fix)
        elif levels and not math.isclose(sum(levels), 1.0, abs_tol=1e-6):
            yield Fault(f"{where}.{name}", f"adds up to {sum(levels):g}", "they are all cases there are: make it 1")
