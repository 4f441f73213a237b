"""DM6xx: what the profile promises never to do, and who agreed to what it widens."""

from collections.abc import Iterator
from typing import Final

from firmware_configs.rules.rule import AuditRule, Case, Where
from firmware_configs.widening import widened

PEOPLE_MIN = 2
AGAINST: Final = frozenset({"DM602", "DM603"})
"""Rules that need the version before, and find nothing without it."""


def _promises_nothing(case: Case) -> Iterator[Where]:
    sensitive = case.profile.sensitive
    if not sensitive.forbidden_categories and not sensitive.forbidden_purposes:
        what = "nothing is forbidden, so a later version may add anything"
        yield (
            "sensitive",
            what,
            '[sensitive] forbidden_categories = ["user.biometric"], forbidden_purposes = ["resale"]',
        )


def _widened(case: Case) -> Iterator[Where]:
    if case.previous is None:
        return
    approval, version = case.profile.approval, case.profile.version
    agreed = approval.version == version and len(set(approval.people)) >= PEOPLE_MIN and bool(approval.reason)
    if agreed:
        return
    for change in widened(case.previous, case.profile):
        fix = f'[approval] version = "{version}", people = two of them, reason = why more is needed'
        yield change.where, change.what, fix


def _same_version(case: Case) -> Iterator[Where]:
    if case.previous is not None and case.previous != case.profile and case.previous.version == case.profile.version:
        what = f"the profile has changed and is still version {case.profile.version}"
        yield "version", what, "raise the version with every change"


RULES = (
    AuditRule(
        code="DM601",
        level="note",
        title="Nothing is forbidden",
        why="A promise of what will never be collected is worth more than a list of what is collected today.",
        check=_promises_nothing,
        law="GDPR Art. 25",
    ),
    AuditRule(
        code="DM602",
        level="error",
        title="Widened without approval",
        why="A profile that collects more, keeps it longer or sends more than before needs two people who say why.",
        check=_widened,
        law="GDPR Art. 35 (11)",
    ),
    AuditRule(
        code="DM603",
        level="error",
        title="Changed under the same version",
        why="People agreed to a version. If it changes under them, their yes is to something else.",
        check=_same_version,
        law="GDPR Art. 7 (1)",
    ),
)
