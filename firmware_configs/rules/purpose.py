"""DM1xx: why it is collected, and whether people were asked, in words that they understand."""

from collections import Counter
from collections.abc import Iterator

from firmware_configs.categories import is_sensitive
from firmware_configs.profile import Best, Purpose, Threshold
from firmware_configs.rules import words
from firmware_configs.rules.rule import AuditRule, Case, Where

SENTENCE_WORDS_MAX = 35
LIX_MAX = 55.0
CATEGORIES_MAX = 3
PURPOSES_MAX = 3
CARRIES_OUT = frozenset({"update", "metric", "experiment", "email", "push", "late-event"})
"""Kinds of egress by which something about people leaves for good."""


def _each(case: Case) -> Iterator[tuple[str, Purpose]]:
    for n, purpose in enumerate(case.profile.purpose):
        yield f"purpose[{n}]", purpose


def _unused_purpose(case: Case) -> Iterator[Where]:
    profile = case.profile
    used = {p for _, _, field in case.fields() for p in field.purposes}
    groups = (profile.model, profile.placement, profile.egress, profile.outcome, profile.metric)
    used |= {p for group in groups for one in group for p in one.purposes}
    used |= set(profile.identity.purposes) if profile.identity is not None else set()
    for where, purpose in _each(case):
        if purpose.name not in used:
            yield where, f"nothing serves `{purpose.name}`", "remove the purpose"


def _consent_basis(case: Case) -> Iterator[Where]:
    for where, purpose in _each(case):
        if (purpose.legal_basis == "consent") != (purpose.consent == "required"):
            what = f"legal basis `{purpose.legal_basis}` with consent `{purpose.consent}`"
            yield where, what, 'legal basis "consent" goes with consent = "required", and only with it'


def _sensitive(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if is_sensitive(field.category) and not set(field.purposes) <= case.asked():
            what = f"`{field.category}` for a purpose without consent"
            yield where, what, 'use purposes with consent = "required" only'


def _long_sentence(case: Case) -> Iterator[Where]:
    for where, purpose in _each(case):
        longest = max((len(part.split()) for part in purpose.text.replace("!", ".").split(".")), default=0)
        if longest > SENTENCE_WORDS_MAX:
            fix = f"write sentences of at most {SENTENCE_WORDS_MAX} words"
            yield f"{where}.text", f"a sentence of {longest} words", fix


def _hard_text(case: Case) -> Iterator[Where]:
    for where, purpose in _each(case):
        grade = words.lix(purpose.text)
        if grade > LIX_MAX:
            what = f"LIX {grade:.0f}: as hard to read as a law (easy is below 40)"
            yield f"{where}.text", what, "use shorter sentences and shorter words"


def _selling(case: Case) -> Iterator[Where]:
    for where, purpose in _each(case):
        if purpose.legal_basis != "consent" and words.of(purpose.name) & words.SELLING:
            what = f"`{purpose.name}` by {purpose.legal_basis}: people are not asked"
            yield where, what, 'legal_basis = "consent", consent = "required"'


def _untold(case: Case) -> Iterator[Where]:
    leaves = {
        name: egress.kind for egress in case.profile.egress if egress.kind in CARRIES_OUT for name in egress.purposes
    }
    for where, purpose in _each(case):
        if purpose.name in leaves and not words.says_that_something_leaves(purpose.text):
            what = f"something leaves for `{purpose.name}` ({leaves[purpose.name]}), and the text does not say so"
            yield f"{where}.text", what, "say what is sent, to whom, and what is not"


def _bundled(case: Case) -> Iterator[Where]:
    stays = {name for place in case.profile.placement for name in place.purposes}
    leaves = {name for e in case.profile.egress if e.kind in CARRIES_OUT - {"email", "push"} for name in e.purposes}
    for where, purpose in _each(case):
        if purpose.consent == "required" and purpose.name in stays & leaves:
            what = f"`{purpose.name}` is for decisions here and for what is sent away: one yes covers both"
            yield where, what, "make a purpose of its own for what is sent away"


def _same_words(case: Case) -> Iterator[Where]:
    times = Counter(" ".join(purpose.text.lower().split()) for purpose in case.profile.purpose)
    for where, purpose in _each(case):
        if times[" ".join(purpose.text.lower().split())] > 1:
            yield f"{where}.text", "another purpose has the same text", "say what this one is for"


def _children(case: Case) -> Iterator[Where]:
    people = case.profile.people
    if people.children in {"possible", "likely"} and not people.guardian and case.asked():
        what = f"children are {people.children}, and their yes is taken as if they could give it"
        yield "people.guardian", what, "guardian = true, and let the page ask who answers for the child"


def _children_unknown(case: Case) -> Iterator[Where]:
    if case.profile.people.children == "unknown" and any(f.category.startswith("user.") for _, _, f in case.fields()):
        what = "nobody has said whether children may be among the people"
        yield "people.children", what, 'children = "none", "possible" or "likely" in [people]'


def _nobody_answers(case: Case) -> Iterator[Where]:
    controller = case.profile.controller
    if not controller.name or not controller.contact:
        what = "the profile does not say who answers for it, so no notice can"
        yield "controller", what, 'add [controller] name = "…" and contact = "…"'


def _trials_unasked(case: Case) -> Iterator[Where]:
    for n, place in enumerate(case.profile.placement):
        tried = place.experiment is not None
        explores = not isinstance(place.policy, Best | Threshold)
        if (tried or explores) and not set(place.purposes) & case.asked():
            what = f"`{place.name}` {'tries things out on people' if tried else 'explores on people'} without asking"
            yield f"placement[{n}]", what, 'serve a purpose with consent = "required", or use policy kind = "best"'


def _creep(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if len(set(field.purposes)) > PURPOSES_MAX:
            what = f"`{field.name}` serves {len(set(field.purposes))} purposes"
            yield where, what, f"collect it for at most {PURPOSES_MAX}; more is a field that serves anything"


def _wide(case: Case) -> Iterator[Where]:
    for where, purpose in _each(case):
        kinds = sorted({field.category for _, _, field in case.fields() if purpose.name in field.purposes})
        if len(kinds) > CATEGORIES_MAX:
            what = f"`{purpose.name}` takes {len(kinds)} kinds of data ({', '.join(kinds)}) with one yes"
            yield where, what, "split the purpose, so that people can say yes to a part"


def _linked_unasked(case: Case) -> Iterator[Where]:
    identity = case.profile.identity
    if identity is not None and not set(identity.purposes) <= case.asked():
        unasked = ", ".join(sorted(set(identity.purposes) - case.asked()))
        what = f"people are recognised across devices and accounts for `{unasked}`, without asking"
        yield "identity.purposes", what, 'use purposes with consent = "required" only'


RULES = (
    AuditRule(
        code="DM101",
        level="note",
        title="Purpose without use",
        why="People are asked about something that never happens.",
        check=_unused_purpose,
        law="GDPR Art. 5 (1) a",
    ),
    AuditRule(
        code="DM102",
        level="error",
        title="Consent and legal basis disagree",
        why="Either people are not asked although they must be, or they are asked and their no does not count.",
        check=_consent_basis,
        law="GDPR Art. 6, 7",
    ),
    AuditRule(
        code="DM103",
        level="error",
        title="Sensitive data without consent",
        why="Health, belief, biometrics and children need an explicit yes.",
        check=_sensitive,
        law="GDPR Art. 9 (2) a",
    ),
    AuditRule(
        code="DM104",
        level="warning",
        title="Text that people will not read",
        why="A consent that was not understood is none.",
        check=_long_sentence,
        law="GDPR Art. 7 (2), 12",
    ),
    AuditRule(
        code="DM105",
        level="warning",
        title="Text that is hard to read",
        why="A consent that was not understood is none. Measured by LIX, which needs no dictionary.",
        check=_hard_text,
        law="GDPR Art. 12",
    ),
    AuditRule(
        code="DM106",
        level="error",
        title="Advertising or resale without asking",
        why="Nobody's interest in selling outweighs a person's wish to be left alone.",
        check=_selling,
        law="GDPR Art. 6 (1) f, 21 (2)",
    ),
    AuditRule(
        code="DM107",
        level="warning",
        title="Something leaves, and the text does not say so",
        why="People agree to what they were told. What they were not told, they have not agreed to. (English texts.)",
        check=_untold,
        law="GDPR Art. 13 (1) e",
    ),
    AuditRule(
        code="DM108",
        level="warning",
        title="One yes for here and for away",
        why="A person who wants the service must be able to keep what is sent away to themselves.",
        check=_bundled,
        law="GDPR Art. 7 (4), Recital 43",
    ),
    AuditRule(
        code="DM109",
        level="warning",
        title="Purposes that read alike",
        why="Whoever cannot tell two questions apart cannot answer them.",
        check=_same_words,
        law="GDPR Art. 5 (1) b",
    ),
    AuditRule(
        code="DM110",
        level="error",
        title="Children who are not protected",
        why="A child's yes is none: who answers for it must give it.",
        check=_children,
        law="GDPR Art. 8",
    ),
    AuditRule(
        code="DM111",
        level="note",
        title="Children were not thought about",
        why="Homes, shops and schools have children in them; the profile should say what it expects.",
        check=_children_unknown,
        law="GDPR Art. 8, Recital 38",
    ),
    AuditRule(
        code="DM112",
        level="note",
        title="Nobody answers",
        why="A notice must say who decides, and how to reach them.",
        check=_nobody_answers,
        law="GDPR Art. 13 (1) a",
    ),
    AuditRule(
        code="DM113",
        level="error",
        title="Trials on people who were not asked",
        why="An experiment, or a choice by chance, treats people differently to learn from them: they should know.",
        check=_trials_unasked,
        law="GDPR Art. 6, 22",
    ),
    AuditRule(
        code="DM114",
        level="warning",
        title="A field for everything",
        why="What was collected for one thing is soon used for another, until nobody knows what it was for.",
        check=_creep,
        law="GDPR Art. 5 (1) b",
    ),
    AuditRule(
        code="DM115",
        level="warning",
        title="One yes for many kinds of data",
        why="A question that covers everything leaves people no choice but all or nothing.",
        check=_wide,
        law="GDPR Recital 43",
    ),
    AuditRule(
        code="DM116",
        level="error",
        title="People recognised without asking",
        why="To find out who is who across devices is more than any of the devices knew.",
        check=_linked_unasked,
        law="GDPR Art. 6, 22",
    ),
)
