"""Findings that somebody answers for: a code, a reason, and a day on which it is looked at again."""

import datetime
import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from firmware_configs import strict
from firmware_configs.errors import WaiversInvalid
from firmware_configs.rules.rule import Finding

NAME = "edge-audit.toml"
EXPIRED, IDLE = "DM901", "DM902"


class Waiver(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One finding, or all of one code, that are not counted until a day."""

    code: Annotated[str, Meta(pattern=r"^DM\d{3}$", description="the rule's code")]
    reason: Annotated[str, Meta(min_length=15, max_length=1_000, description="why it is right as it is, in words")]
    until: Annotated[datetime.date, Meta(description="the last day on which it holds, such as 2027-01-31")]
    path: Annotated[str, Meta(min_length=1, description="the profile's file, `*` for any part")] = "*"
    where: Annotated[str, Meta(description="the place in the profile, `*` for any part; empty: anywhere")] = ""

    def covers(self, finding: Finding) -> bool:
        """Whether it speaks of this finding."""
        if self.code != finding.code:
            return False
        where = not self.where or fnmatch.fnmatchcase(finding.where, self.where.replace("[", "[[]"))
        return where and (fnmatch.fnmatch(finding.path, self.path) or Path(finding.path).match(self.path))


class Waivers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of them."""

    waiver: tuple[Waiver, ...] = ()


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """The waivers of a file.

    Raises:
        WaiversInvalid: it cannot be read, or holds something else; names the key.
    """
    document = strict.read_toml(strict.read_text(path, WaiversInvalid), str(path), WaiversInvalid)
    return strict.convert(document, Waivers, str(path), WaiversInvalid).waiver


def waived(findings: Sequence[Finding], waivers: Sequence[Waiver], today: datetime.date) -> list[Finding]:
    """The findings, those that are waived marked with the reason; and what is wrong with the waivers themselves."""
    told: list[Finding] = []
    used: set[Waiver] = set()
    for finding in findings:
        covering = [one for one in waivers if one.covers(finding)]
        used.update(covering)
        holding = [one for one in covering if one.until >= today]
        if holding:
            told.append(msgspec.structs.replace(finding, waived=f"{holding[0].reason} (until {holding[0].until})"))
            continue
        told.append(finding)
        told += [_expired(one, finding) for one in covering]
    return told + [_idle(one) for one in waivers if one not in used]


def _expired(waiver: Waiver, finding: Finding) -> Finding:
    return Finding(
        code=EXPIRED,
        level="warning",
        path=finding.path,
        where=finding.where,
        line=finding.line,
        what=f"the waiver of {waiver.code} ended on {waiver.until}: “{waiver.reason}”",
        fix="look at it again: mend the profile, or give a new day",
    )


def _idle(waiver: Waiver) -> Finding:
    return Finding(
        code=IDLE,
        level="note",
        path=waiver.path,
        where=waiver.where,
        what=f"a waiver of {waiver.code} covers nothing: “{waiver.reason}”",
        fix="remove it",
    )
