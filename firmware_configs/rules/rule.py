"""What a rule and a finding are."""

from collections.abc import Callable, Iterator
from typing import Literal

from msgspec import Struct

from firmware_configs.lineage import Lineage
from firmware_configs.profile import Profile

Level = Literal["error", "warning", "note"]
Where = tuple[str, str, str]
"""(place in the document, what is wrong, how to mend it)."""
Check = Callable[[Profile, Lineage], Iterator[Where]]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that an auditor would write down."""

    code: str
    level: Level
    path: str
    """The profile's file."""
    where: str
    what: str
    fix: str


class AuditRule(Struct, frozen=True, kw_only=True):
    """One rule."""

    code: str
    """`DM` and three digits; never used again for something else."""
    level: Level
    title: str
    why: str
    """For people who do not write Python: what can go wrong, and for whom."""
    check: Check

    def run(self, profile: Profile, lineage: Lineage, path: str) -> list[Finding]:
        """The rule's findings in a profile."""
        return [
            Finding(code=self.code, level=self.level, path=path, where=where, what=what, fix=fix)
            for where, what, fix in self.check(profile, lineage)
        ]
