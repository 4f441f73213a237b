"""Reads profiles as an auditor does: loads them, derives lineage, runs every rule, and tells them in words."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from firmware_configs import designs, strict
from firmware_configs.consistency import faults
from firmware_configs.controls import controls
from firmware_configs.errors import ProfileError, ProfileInconsistent, ProfileMalformed, ProfileUnreadable, UsageError
from firmware_configs.lineage import BundleNeeds, derive
from firmware_configs.loader import load
from firmware_configs.places import line_of
from firmware_configs.profile import Keep, Profile, Purpose
from firmware_configs.rules import ALL, AuditRule, Case, Finding
from firmware_configs.rules.besides import UNREADABLE
from firmware_configs.rules.promise import AGAINST
from firmware_configs.shown import line
from firmware_configs.waivers import NAME

OTHERS: Final = frozenset({NAME, "pyproject.toml"})
"""Files that lie beside profiles, and are none."""
PROFILE_KEYS: Final = frozenset({"schema", "source", "purpose", "retention", "placement", "egress"})
_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_PLACE = re.compile(r"(?P<place>[\w.\[\]-]+): (?P<what>.*)", re.DOTALL)


def is_profile(path: Path) -> bool:
    """Whether a file that lies in a folder is meant to be a profile: whatever cannot be read is, so that it is told.

    A TOML document without a single one of a profile's own tables (settings, a build file, waivers) is none.
    """
    if path.name in OTHERS:
        return False
    try:
        document = tomllib.loads(strict.read_text(path, ProfileUnreadable))
    except (ProfileUnreadable, tomllib.TOMLDecodeError, RecursionError):
        return True
    return not PROFILE_KEYS.isdisjoint(document)


def profiles_in(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """(the profiles among files and folders, sorted; files of the folders that were passed over, for they are none).

    A file that is named itself is taken for a profile, whatever it holds.

    Raises:
        UsageError: a path does not exist, or a folder holds no profile.
    """
    found: list[Path] = []
    passed: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder", hint="check the path")
        if not path.is_dir():
            found.append(path)
            continue
        held = [(one, is_profile(one)) for one in sorted(path.rglob("*.toml"))]
        if not any(meant for _, meant in held):
            raise UsageError(f"{path}: holds no profile", hint="profiles are .toml files with sources and purposes")
        found += [one for one, meant in held if meant]
        passed += [one for one, meant in held if not meant]
    return found, passed


def audit(
    path: Path,
    bundles: Sequence[BundleNeeds],
    rules: Iterable[AuditRule] = ALL,
    previous: Profile | None = None,
) -> list[Finding]:
    """Everything that the rules find in one profile; of one that does not load, what is wrong with it, DM000.

    Args:
        previous: the version before, for the rules about what has been widened.
    """
    name = line(str(path))
    try:
        profile = load(path).profile
    except ProfileError as error:
        return _unreadable(path, name, error)
    case = Case(profile=profile, lineage=derive(profile, bundles), bundles=tuple(bundles), previous=previous)
    found = [_one_line(finding) for rule in rules for finding in rule.run(case, name)]
    if not found:
        return []
    text = path.read_text(encoding="utf-8")
    return [msgspec.structs.replace(finding, line=line_of(text, finding.where)) for finding in found]


def _unreadable(path: Path, name: str, error: ProfileError) -> list[Finding]:
    """Why a profile does not load, each contradiction by itself, with the line where there is one."""
    told: list[tuple[str, str, str]]
    what = error.what.removeprefix(f"{name}: ")
    if isinstance(error, ProfileInconsistent):
        text = strict.read_text(path, ProfileUnreadable)
        document = strict.read_toml(text, str(path), ProfileUnreadable)
        told = [(one.where, one.what, one.fix) for one in faults(strict.convert(document, Profile, name, type(error)))]
    elif isinstance(error, ProfileMalformed) and (placed := _PLACE.fullmatch(what)):
        text = strict.read_text(path, ProfileUnreadable)
        told = [(placed["place"].replace("document", ""), placed["what"], error.hint)]
    else:
        text, told = "", [("", what, error.hint)]
    at = _LINE.search(what) if isinstance(error, ProfileUnreadable) else None
    return [
        _one_line(
            Finding(
                code=UNREADABLE,
                level="error",
                path=name,
                where=where,
                what=wrong,
                fix=fix,
                line=int(at[1]) if at else line_of(text, where),
            )
        )
        for where, wrong, fix in told
    ]


def _one_line(finding: Finding) -> Finding:
    """The same, whatever the profile's texts hold: nothing of it begins a line of its own."""
    return msgspec.structs.replace(finding, where=line(finding.where), what=line(finding.what), fix=line(finding.fix))


def chosen(select: Sequence[str]) -> tuple[AuditRule, ...]:
    """The rules whose code begins with one of these; all, when there are none.

    Raises:
        UsageError: one of them is the beginning of no code.
    """
    beginnings = tuple(one.upper() for one in select)
    for one in beginnings:
        if not any(rule.code.startswith(one) for rule in ALL):
            raise UsageError(f"no rule begins with `{one}`", hint="list them: edge-audit rules")
    return tuple(rule for rule in ALL if not select or rule.code.startswith(beginnings))


def ran(rules: Iterable[AuditRule], previous: Profile | None) -> frozenset[str]:
    """The codes that could have been found: a waiver of any other says nothing about the profile."""
    return frozenset({rule.code for rule in rules} - (AGAINST if previous is None else frozenset()) | {UNREADABLE})


def in_words(profile: Profile) -> Iterator[str]:
    """The profile as a person would tell it: line by line."""
    device = profile.device
    yield f"{profile.name} {profile.version}: for devices of class {device.class_} in fleet {device.fleet}."
    for purpose in profile.purpose:
        asked = "only after people say yes" if purpose.consent == "required" else "without asking"
        yield ""
        yield f"{purpose.name} ({asked}; legal basis: {purpose.legal_basis})"
        yield f"  “{purpose.text}”"
        yield from (f"  {line}" for line in _of_purpose(profile, purpose))
    if tried := designs.told(profile):
        yield ""
        yield "What is tried out on people:"
        yield from (f"  {line}" for line in tried)
    yield ""
    yield "What protects each field:"
    yield from (f"  {line}" for line in controls(profile))
    yield ""
    yield "What may leave the device:"
    for egress in profile.egress:
        privacy = f", clipped to norm {egress.privacy.clip_norm:g}" if egress.privacy else ""
        noise = ", with noise" if egress.privacy and egress.privacy.noise_multiplier else ""
        alone = f", read only when {egress.k_min} devices are added up" if egress.k_min > 1 else ""
        limit = f"at most {egress.bytes_day_max:,} bytes a day"
        purposes = ", ".join(egress.purposes)
        yield f"  {egress.kind} to {egress.destination}, for {purposes}, {limit}{privacy}{noise}{alone}."
    yield "Nothing else leaves."
    if profile.sensitive.forbidden_categories or profile.sensitive.forbidden_purposes:
        yield ""
        yield f"Never collected: {', '.join(profile.sensitive.forbidden_categories) or 'nothing is named'}."
        yield f"Never done: {', '.join(profile.sensitive.forbidden_purposes) or 'nothing is named'}."


def _of_purpose(profile: Profile, purpose: Purpose) -> Iterator[str]:
    for source in profile.source:
        for field in source.field:
            if purpose.name in field.purposes:
                kept = profile.retention[field.category].days
                changed = "" if isinstance(field.transform, Keep) else f", {field.transform.__struct_config__.tag}"
                yield f"collects {field.name} from {source.name} ({field.category}{changed}), kept {kept:g} days"
    for model in profile.model:
        if purpose.name in model.purposes:
            yield f"computes {model.name} (versions {model.versions})"
    for place in profile.placement:
        if purpose.name in place.purposes:
            yield f"decides {place.name}, delivered by {place.channel}"
