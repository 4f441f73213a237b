"""DM019 and DM020: categories that nobody knows, and fields that are more than their category says."""

from collections.abc import Iterator
from typing import Final

from firmware_configs import categories
from firmware_configs.rules import words
from firmware_configs.rules.rule import AuditRule, Case, Where

SAID_BY: Final = (
    (words.HEALTH | words.HEALTH_MORE | words.HEALTH_YET_MORE, words.HEALTH_PAIRS, "user.health_and_medical", "health"),
    (words.BELIEF, frozenset[tuple[str, str]](), "user.demographic.religious_belief", "a belief or an opinion"),
    (words.ORIGIN, frozenset[tuple[str, str]](), "user.demographic.race_ethnicity", "origin or sexuality"),
    (words.BODY, frozenset[tuple[str, str]](), "user.biometric", "a body by which people are recognised"),
    (words.CRIME, frozenset[tuple[str, str]](), "user.criminal_history", "crimes"),
    (words.MONEY, frozenset[tuple[str, str]](), "user.financial", "money"),
)
"""(words, pairs of words, the category that they speak of, how it is called)."""
MONEY: Final = ("user.financial", "user.payment")


def _unknown_category(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if categories.is_known(field.category):
            continue
        near = categories.nearest(field.category)
        what = f"`{field.category}` is no category that is known, so no rule about sensitive data can see it"
        fix = f"did you mean `{near}`?" if near else "use a name of the Fides taxonomy, such as `user.behavior`"
        yield f"{where}.category", what, fix


def _more_than_it_says(case: Case) -> Iterator[Where]:
    for where, _, field in case.fields():
        if categories.is_sensitive(field.category):
            continue
        for alone, pairs, category, told in SAID_BY:
            found = words.told_by(field.name, alone, pairs) or words.told_by(field.path, alone, pairs)
            if found and not (category in MONEY and field.category.startswith(MONEY)):
                what = f"`{field.name}` sounds like {told} (`{found}`) and is called `{field.category}`"
                yield f"{where}.category", what, f'category = "{category}", or a name that says what it is'
                break


RULES = (
    AuditRule(
        code="DM019",
        level="warning",
        title="Category that nobody knows",
        why="Rules about sensitive data go by the category. A made-up or mistyped one slips past them.",
        check=_unknown_category,
        law="GDPR Art. 9, 30 (1) c",
    ),
    AuditRule(
        code="DM020",
        level="warning",
        title="More than its category says",
        why="Health, belief or money under a harmless name is collected without what the law asks for it.",
        check=_more_than_it_says,
        law="GDPR Art. 9",
    ),
)
