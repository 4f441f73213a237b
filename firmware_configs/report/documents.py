"""Documents that the law asks for, written from the profile: nothing can be forgotten, or differ from the device.

What a profile cannot know (who the controller is, if it does not say; what a judge would weigh) is marked as open.
"""

from collections.abc import Callable, Sequence
from typing import Final

from firmware_configs.categories import is_sensitive
from firmware_configs.lineage import ALERT, BundleNeeds, Lineage, derive
from firmware_configs.profile import Best, Keep, Profile, Purpose, Threshold
from firmware_configs.report import own_records, wording
from firmware_configs.report.pages import Bullets, Heading, Page, Paragraph, Part, Table
from firmware_configs.rules import ALL, Case, Finding

OPEN: Final = "[open: to be filled in]"


def record(profile: Profile, bundles: Sequence[BundleNeeds]) -> Page:
    """The record of processing activities of Art. 30 (1) GDPR."""
    del bundles
    parts: list[Part] = [
        Paragraph(f"Device profile {profile.name} {profile.version}, for devices of class {profile.device.class_}."),
        Heading("Who answers for it"),
        Table(
            ("question", "answer"),
            (
                ("Controller", profile.controller.name or OPEN),
                ("Contact", profile.controller.contact or OPEN),
                ("Data protection officer", profile.controller.officer or OPEN),
                ("Where", profile.controller.country or OPEN),
            ),
        ),
        Heading("Activities"),
    ]
    for purpose in profile.purpose:
        parts += _activity(profile, purpose)
    parts += [
        Heading("Records that the device makes itself"),
        *_own_records(profile),
        Heading("Transfers to third countries"),
        Paragraph(f"None by the device itself. Whoever runs broker and coordinator must say where they stand: {OPEN}."),
        Heading("Technical and organisational measures"),
        Bullets(_measures(profile)),
    ]
    return Page(title=f"Record of processing: {profile.name}", parts=tuple(parts))


def _activity(profile: Profile, purpose: Purpose) -> list[Part]:
    fields = wording.fields_of(profile, purpose)
    categories = sorted({one.category for _, one in fields})
    kept = [f"{name}: {wording.days(profile.retention[name].days)}" for name in categories if name in profile.retention]
    kept += own_records.of_purpose(profile, purpose)
    leaving = [
        f"{egress.kind} to {wording.KINDS[egress.kind][1]}, at most {wording.size(egress.bytes_day_max)} a day"
        for egress in wording.leaving_for(profile, purpose)
    ]
    return [
        Heading(purpose.name, 3),
        Table(
            ("question", "answer"),
            (
                ("Purpose", purpose.text),
                ("Legal basis", wording.BASES[purpose.legal_basis][1]),
                ("People", ", ".join(profile.people.groups) or OPEN),
                ("Categories of data", ", ".join(categories) or "none"),
                ("Fields", ", ".join(wording.field(one) for _, one in fields) or "none"),
                ("Recipients", "; ".join(leaving) or "none: nothing leaves for it"),
                ("Erased after", "; ".join(kept) or "nothing is kept"),
            ),
        ),
    ]


def _own_records(profile: Profile) -> list[Part]:
    return [Table(own_records.HEADER, own_records.rows(profile)), Paragraph(own_records.ceiling(profile))]


def _measures(profile: Profile) -> tuple[str, ...]:
    coarse = [one.name for source in profile.source for one in source.field if not isinstance(one.transform, Keep)]
    said = [
        "Events are minimised before anything is stored: what the profile does not name is dropped at once.",
        "Nothing leaves that the ledger on the device has not entered before; the ledger is a chain of hashes.",
        "Decisions are made on the device; events never leave it.",
    ]
    if coarse:
        said.append(f"Kept coarse: {', '.join(coarse)}.")
    said += [
        f"What leaves as {egress.kind}: {wording.protection(egress)}."
        for egress in profile.egress
        if wording.protection(egress)
    ]
    if profile.sensitive.forbidden_categories:
        said.append(f"Never collected: {', '.join(profile.sensitive.forbidden_categories)}.")
    return tuple(said)


def retention(profile: Profile, bundles: Sequence[BundleNeeds]) -> Page:
    """The retention schedule."""
    del bundles
    rows = []
    for category, kept in sorted(profile.retention.items()):
        names = [one.name for source in profile.source for one in source.field if one.category == category]
        rows.append((category, wording.category(category), ", ".join(names) or "none", wording.days(kept.days)))
    return Page(
        title=f"Retention schedule: {profile.name} {profile.version}",
        parts=(
            Paragraph("The device erases by itself, in its own sweep."),
            Heading("What it collects"),
            Paragraph("Of a source with several categories, everything is kept for the shortest of them."),
            Table(("category", "what it is", "fields", "kept for at most"), tuple(rows)),
            Heading("Records that the device makes itself"),
            *_own_records(profile),
        ),
    )


def notice(profile: Profile, bundles: Sequence[BundleNeeds]) -> Page:
    """The notice for people, in full: Art. 13 GDPR, in their words."""
    del bundles
    controller = profile.controller
    parts: list[Part] = [
        Paragraph(
            "This device learns and decides here. What you do stays on it, unless this page says otherwise. "
            "You can ask it what it knows, and make it forget."
        ),
        Heading("Who answers for it"),
        Paragraph(f"{controller.name or OPEN}. Reach them here: {controller.contact or OPEN}."),
    ]
    if controller.officer:
        parts.append(Paragraph(f"For questions about your data: {controller.officer}."))
    parts.append(Heading("What happens with your data"))
    for purpose in profile.purpose:
        parts += _for_people(profile, purpose)
    parts += [
        Heading("What leaves this device"),
        *_what_leaves(profile),
        Heading("What decides about you"),
        Paragraph(_what_decides(profile)),
        Heading("Your rights"),
        Bullets(
            (
                "See what the device knows about you, and take it with you.",
                "Have it put right, or erased. The device erases it and can prove that it did.",
                "Say no to a purpose, or take a yes back, at any time. It holds from the next event on.",
                "Ask why you were shown something. The device keeps the reasons.",
                f"Complain to the authority: {controller.authority or OPEN}.",
            )
        ),
    ]
    return Page(title="What this device does with your data", parts=tuple(parts))


def _for_people(profile: Profile, purpose: Purpose) -> list[Part]:
    why, _ = wording.BASES[purpose.legal_basis]
    fields = wording.fields_of(profile, purpose)
    parts: list[Part] = [Heading(_title(purpose.name), 3), Paragraph(purpose.text), Paragraph(f"Because {why}.")]
    items = []
    for category in sorted({one.category for _, one in fields}):
        names = wording.listed(wording.field(one) for _, one in fields if one.category == category)
        kept = wording.days(profile.retention[category].days)
        items.append(f"{_title(wording.category(category))}: {names}. Kept for {kept}, then erased.")
    return [*parts, Bullets(tuple(items))] if items else [*parts, Paragraph("It takes nothing about you.")]


def _what_leaves(profile: Profile) -> list[Part]:
    rows = tuple(
        (
            wording.KINDS[egress.kind][0],
            wording.KINDS[egress.kind][1],
            wording.listed(egress.purposes),
            wording.protection(egress) or "nothing further",
        )
        for egress in profile.egress
    )
    if not rows:
        return [Paragraph("Nothing.")]
    return [Table(("what", "who gets it", "what for", "what protects you"), rows), Paragraph("Nothing else leaves.")]


def _what_decides(profile: Profile) -> str:
    if not profile.placement:
        return "Nothing is decided about you."
    said = [f"The device decides by itself at {wording.listed(_title(p.name).lower() for p in profile.placement)}."]
    switched = [place.actuator for place in profile.placement if place.actuator]
    if switched:
        said.append(f"It may switch {wording.listed(dict.fromkeys(switched))}.")
    if any(not isinstance(place.policy, Best | Threshold) for place in profile.placement):
        said.append("Now and then it tries something by chance, to learn what suits you.")
    if any(place.experiment is not None for place in profile.placement):
        said.append("It compares ways of doing things: different people may be treated differently for a while.")
    return " ".join(said)


def notice_short(profile: Profile, bundles: Sequence[BundleNeeds]) -> Page:
    """The notice for a label or a screen: a sentence a purpose, and where to read more."""
    del bundles
    items = [f"{_title(purpose.name)}: {purpose.text}" for purpose in profile.purpose]
    longest = max((kept.days for kept in profile.retention.values()), default=0.0)
    leaves = [egress for egress in profile.egress if egress.kind not in {"decision", "status", "rejection", "alert"}]
    sent = "; ".join(dict.fromkeys(wording.KINDS[egress.kind][0] for egress in leaves))
    return Page(
        title="Your data, in short",
        parts=(
            Bullets(tuple(items)),
            Paragraph(f"Kept for {wording.days(longest)} at most. Sent away about people: {sent or 'nothing'}."),
            Paragraph(f"You may say no, see, and erase. {profile.controller.contact or OPEN}"),
        ),
    )


def label(profile: Profile, bundles: Sequence[BundleNeeds]) -> Page:
    """A data-safety label: what is collected, shared and secured, at one glance."""
    lineage = derive(profile, bundles)
    shared = {egress.kind for egress in profile.egress} & {
        "update",
        "metric",
        "experiment",
        "late-event",
        "email",
        "push",
    }
    rows = []
    for category in sorted({one.category for source in profile.source for one in source.field}):
        purposes = sorted(
            {p for source in profile.source for one in source.field if one.category == category for p in one.purposes}
        )
        optional = all(p.consent == "required" for p in profile.purpose if p.name in purposes)
        rows.append(
            (
                _title(wording.category(category)),
                "yes",
                _shared(profile, lineage, category),
                "your choice" if optional else "always",
                wording.listed(purposes),
            )
        )
    return Page(
        title=f"Data safety: {profile.name}",
        parts=(
            Table(("data", "collected", "leaves the device as", "optional", "what for"), tuple(rows)),
            Bullets(
                (
                    "Events leave the device: never."
                    if "late-event" not in shared
                    else "Late events leave the device.",
                    f"Shared with others: {', '.join(sorted(shared)) or 'nothing'}.",
                    "You can have your data erased: yes, on the device.",
                    f"Never collected: {', '.join(profile.sensitive.forbidden_categories) or 'no promise'}.",
                )
            ),
        ),
    )


def _shared(profile: Profile, lineage: Lineage, category: str) -> str:
    """The kinds of egress that a category's fields reach."""
    names = {f"field {one.name}" for source in profile.source for one in source.field if one.category == category}
    changed = True
    while changed:
        more = {step.target for step in lineage.steps if step.source in names} - names
        names |= more
        changed = bool(more)
    out = [name for name in sorted(names) if name.startswith("egress ") and not name.startswith(ALERT)]
    kinds = [name.removeprefix("egress ").partition(" ")[0] for name in out]
    return ", ".join(kinds) or "nothing"


def dpia(profile: Profile, bundles: Sequence[BundleNeeds]) -> Page:
    """A draft of the impact assessment of Art. 35 GDPR: what can be derived is, what must be judged is left open."""
    lineage = derive(profile, bundles)
    case = Case(profile=profile, lineage=lineage, bundles=tuple(bundles))
    findings = [finding for rule in ALL for finding in rule.run(case, profile.name)]
    parts: list[Part] = [
        Paragraph("A draft, derived from the profile. Passages marked as open need a person's judgement."),
        Heading("Is an assessment needed?"),
        Table(("criterion", "here"), _criteria(profile)),
        Heading("The processing"),
    ]
    for purpose in profile.purpose:
        parts += _activity(profile, purpose)
    parts += [
        Heading("Necessity and proportion"),
        Bullets(_necessity(profile, lineage)),
        Heading("Risks that the auditor sees"),
        _risks(findings),
        Heading("Measures"),
        Bullets(_measures(profile)),
        Heading("What people concerned say (Art. 35 (9))"),
        Paragraph(OPEN),
        Heading("Residual risk and decision"),
        Paragraph(OPEN),
    ]
    return Page(title=f"Impact assessment (draft): {profile.name} {profile.version}", parts=tuple(parts))


def _criteria(profile: Profile) -> tuple[tuple[str, str], ...]:
    sensitive = sorted({one.category for s in profile.source for one in s.field if is_sensitive(one.category)})
    tried = [place.name for place in profile.placement if place.experiment is not None]
    people = profile.people.children
    return (
        ("Evaluation or scoring", f"yes: {len(profile.model)} models" if profile.model else "no"),
        ("Automated decisions", f"yes: {len(profile.placement)} placements" if profile.placement else "no"),
        ("Systematic monitoring", f"{len(profile.source)} sources; judge: {OPEN}"),
        ("Sensitive data", f"yes: {', '.join(sensitive)}" if sensitive else "no"),
        ("Matching of data sets", "yes: people are recognised across devices" if profile.identity else "no"),
        ("Vulnerable people", f"children: {people}"),
        ("New technology", "on-device learning" if any(model.learn for model in profile.model) else "no"),
        ("Trials on people", f"yes: {', '.join(tried)}" if tried else "no"),
        ("Large scale", OPEN),
    )


def _necessity(profile: Profile, lineage: Lineage) -> tuple[str, ...]:
    fields = [one for source in profile.source for one in source.field]
    coarse = sum(not isinstance(one.transform, Keep) for one in fields)
    unused = (
        f"Needed by nothing: {', '.join(lineage.unused)}." if lineage.unused else "Every field is needed (derived)."
    )
    longest = max((kept.days for kept in profile.retention.values()), default=0.0)
    return (
        unused,
        f"{coarse} of {len(fields)} fields are coarsened before anything sees them.",
        f"Kept for {wording.days(longest)} at most.",
        "A smaller set of fields: edge-audit minimise says what it would cost.",
    )


def _risks(findings: Sequence[Finding]) -> Part:
    if not findings:
        return Paragraph("None. Judge whether there are others: [open].")
    rows = tuple((finding.code, finding.level, finding.what, finding.fix) for finding in findings)
    return Table(("rule", "weight", "what", "what would mend it"), rows)


def _title(name: str) -> str:
    plain = name.replace("-", " ").replace("_", " ")
    return plain[:1].upper() + plain[1:]


KINDS: Final[dict[str, Callable[[Profile, Sequence[BundleNeeds]], Page]]] = {
    "record": record,
    "dpia": dpia,
    "notice": notice,
    "notice-short": notice_short,
    "label": label,
    "retention": retention,
}
"""Name on the command line → what writes it."""
