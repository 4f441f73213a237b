"""Findings that somebody answers for: a code, a reason, and a day on which it is looked at again."""

import datetime
import fnmatch
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from firmware_configs import strict
from firmware_configs.errors import WaiversInvalid
from firmware_configs.rules import ALL
from firmware_configs.rules.besides import EXPIRED, FAR, IDLE, UNREADABLE
from firmware_configs.rules.rule import Finding

NAME = "edge-audit.toml"
AHEAD_DAYS = 366
"""How far ahead a waiver may end before it is told that nobody will look at it."""
KNOWN = frozenset({*(rule.code for rule in ALL), UNREADABLE})


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
        return where and self.is_about(finding.path)

    def is_about(self, path: str) -> bool:
        """Whether it speaks of this file."""
        return fnmatch.fnmatch(path, self.path) or Path(path).match(self.path)


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


def waived(
    findings: Sequence[Finding],
    waivers: Sequence[Waiver],
    today: datetime.date,
    ran: Collection[str] = KNOWN,
    files: Sequence[str] | None = None,
) -> list[Finding]:
    """The findings, those that are waived marked with the reason; and what is wrong with the waivers themselves.

    Args:
        ran: codes that were looked for; whether a waiver of another is needed is not known.
        files: that were looked at, likewise; None: all that there are.
    """
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
    idle = [one for one in waivers if one not in used and (one.code in ran or one.code not in KNOWN)]
    idle = [one for one in idle if files is None or any(one.is_about(path) for path in files)]
    far = [one for one in waivers if one.until > today + datetime.timedelta(days=AHEAD_DAYS)]
    return told + [_idle(one) for one in idle] + [_far(one, today) for one in far]


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


def _far(waiver: Waiver, today: datetime.date) -> Finding:
    years = (waiver.until - today).days / 365.25
    return Finding(
        code=FAR,
        level="note",
        path=waiver.path,
        where=waiver.where,
        what=f"the waiver of {waiver.code} holds until {waiver.until}, {years:.1f} years ahead: “{waiver.reason}”",
        fix="give a day within a year, and look at it again then",
    )


def _idle(waiver: Waiver) -> Finding:
    known = "covers nothing" if waiver.code in KNOWN else "is of no rule that there is"
    return Finding(
        code=IDLE,
        level="note",
        path=waiver.path,
        where=waiver.where,
        what=f"a waiver of {waiver.code} {known}: “{waiver.reason}”",
        fix="remove it",
    )
