"""What a rule, a case and a finding are."""

from collections.abc import Callable, Iterator
from typing import Literal

from msgspec import Struct

from firmware_configs.lineage import BundleNeeds, Lineage
from firmware_configs.profile import Profile, Source, SourceField

Level = Literal["error", "warning", "note"]
Where = tuple[str, str, str]
"""(place in the document, what is wrong, how to mend it)."""


class Case(Struct, frozen=True, kw_only=True):
    """What a rule looks at."""

    profile: Profile
    lineage: Lineage
    bundles: tuple[BundleNeeds, ...] = ()
    previous: Profile | None = None
    """The version before this one, where the auditor was given it."""

    def fields(self) -> Iterator[tuple[str, Source, SourceField]]:
        """(place in the document, source, field) of everything that is collected."""
        for n, source in enumerate(self.profile.source):
            for m, field in enumerate(source.field):
                yield f"source[{n}].field[{m}]", source, field

    def asked(self) -> set[str]:
        """Purposes that people must agree to."""
        return {purpose.name for purpose in self.profile.purpose if purpose.consent == "required"}


Check = Callable[[Case], Iterator[Where]]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that an auditor would write down."""

    code: str
    level: Level
    path: str
    """The profile's file."""
    where: str
    what: str
    fix: str
    line: int = 0
    """Line of the place in the file, from 1; 0: not known."""
    waived: str = ""
    """Why it is not counted; empty: it is."""


class AuditRule(Struct, frozen=True, kw_only=True):
    """One rule."""

    code: str
    """`DM` and three digits; never used again for something else."""
    level: Level
    title: str
    why: str
    """For people who do not write Python: what can go wrong, and for whom."""
    check: Check
    law: str = ""
    """Where the reader may look it up."""

    def run(self, case: Case, path: str) -> list[Finding]:
        """The rule's findings in a profile."""
        return [
            Finding(code=self.code, level=self.level, path=path, where=where, what=what, fix=fix)
            for where, what, fix in self.check(case)
        ]
