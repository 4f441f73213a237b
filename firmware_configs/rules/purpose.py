"""DM1xx: why it is collected, and whether people were asked."""

from collections.abc import Iterator

from firmware_configs.lineage import Lineage
from firmware_configs.profile import Profile
from firmware_configs.rules.rule import AuditRule, Where

SENSITIVE = ("user.health", "user.biometric", "user.political", "user.religio", "user.sexual", "user.children")
SENTENCE_WORDS_MAX = 35


def _unused_purpose(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    used = {p for s in profile.source for f in s.field for p in f.purposes}
    groups = (profile.model, profile.placement, profile.egress, profile.outcome, profile.metric)
    used |= {p for group in groups for one in group for p in one.purposes}
    used |= set(profile.identity.purposes) if profile.identity is not None else set()
    for n, purpose in enumerate(profile.purpose):
        if purpose.name not in used:
            yield f"purpose[{n}]", f"nothing serves `{purpose.name}`", "remove the purpose"


def _consent_basis(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for n, purpose in enumerate(profile.purpose):
        if (purpose.legal_basis == "consent") != (purpose.consent == "required"):
            yield (
                f"purpose[{n}]",
                f"legal basis `{purpose.legal_basis}` with consent `{purpose.consent}`",
                'legal basis "consent" goes with consent = "required", and only with it',
            )


def _sensitive(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    asked = {p.name for p in profile.purpose if p.consent == "required"}
    for n, source in enumerate(profile.source):
        for m, field in enumerate(source.field):
            if field.category.startswith(SENSITIVE) and not set(field.purposes) <= asked:
                yield (
                    f"source[{n}].field[{m}]",
                    f"`{field.category}` for a purpose without consent",
                    'use purposes with consent = "required" only',
                )


def _unreadable(profile: Profile, _lineage: Lineage) -> Iterator[Where]:
    for n, purpose in enumerate(profile.purpose):
        longest = max((len(part.split()) for part in purpose.text.replace("!", ".").split(".")), default=0)
        if longest > SENTENCE_WORDS_MAX:
            yield (
                f"purpose[{n}].text",
                f"a sentence of {longest} words",
                f"write sentences of at most {SENTENCE_WORDS_MAX} words",
            )


RULES = (
    AuditRule(
        code="DM101",
        level="note",
        title="Purpose without use",
        why="People are asked about something that never happens.",
        check=_unused_purpose,
    ),
    AuditRule(
        code="DM102",
        level="error",
        title="Consent and legal basis disagree",
        why="Either people are not asked although they must be, or they are asked and their no does not count.",
        check=_consent_basis,
    ),
    AuditRule(
        code="DM103",
        level="error",
        title="Sensitive data without consent",
        why="Health, belief, biometrics and children need an explicit yes.",
        check=_sensitive,
    ),
    AuditRule(
        code="DM104",
        level="warning",
        title="Text that people will not read",
        why="A consent that was not understood is none.",
        check=_unreadable,
    ),
)
