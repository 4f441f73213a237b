"""Dry runs of rules: over cases in a file, and over what a device has recorded."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge_agent.agent import Agent
from edge_agent.errors import SettingsMalformed
from edge_agent.rehearsal import Case, Covered, Ran, Rehearsal, run_case
from edge_agent.settings import load as load_settings
from edge_agent.shell.clock import local_hours, zoned_times
from edge_agent.shell.record import replay
from firmware_configs import strict
from firmware_configs.errors import UsageError
from firmware_configs.loader import Loaded
from firmware_configs.profile import Profile

RAN_MAX = 10_000
"""Recorded events whose outcome is kept; rules are counted over all."""


class Rehearsed(Struct, kw_only=True):
    """What a dry run found."""

    ran: list[Ran]
    covered: list[Covered]

    @property
    def failed(self) -> int:
        """Cases that came out otherwise than expected."""
        return sum(bool(one.faults) for one in self.ran)


class _CasesFile(Struct, forbid_unknown_fields=True):
    case: list[Case]


def read_cases(path: Path) -> list[Case]:
    """Cases of a TOML file ([[case]]), a JSON array, or a file with one JSON object a line.

    Raises:
        SettingsMalformed: it is none of these; the fault is told with its path.
    """
    text = strict.read_text(path, SettingsMalformed)
    if path.suffix == ".toml":
        return strict.convert(
            strict.read_toml(text, str(path), SettingsMalformed), _CasesFile, str(path), SettingsMalformed
        ).case
    try:
        if text.lstrip().startswith("["):
            return msgspec.json.decode(text, type=list[Case])
        return [msgspec.json.decode(line, type=Case) for line in text.splitlines() if line.strip()]
    except msgspec.MsgspecError as error:
        raise SettingsMalformed(f"{path}: {error}", hint="a case has `placement`, `fields` and `expect`") from None


def rehearse_cases(profile: Profile, cases: Sequence[Case]) -> Rehearsed:
    """Ask the profile's rules about each case.

    Raises:
        UsageError: a case names a placement that is not there, or no candidates where there are no fixed ones.
    """
    rehearsals = {place.name: Rehearsal(place) for place in profile.placement}
    ran = []
    for number, case in enumerate(cases, 1):
        name = case.name or f"case {number}"
        rehearsal = rehearsals.get(case.placement)
        if rehearsal is None:
            known = ", ".join(sorted(rehearsals))
            raise UsageError(f"{name}: there is no placement `{case.placement}`", hint=f"use one of: {known}")
        if not case.items and not rehearsal.placement.candidate:
            raise UsageError(f"{name}: {case.placement} has no fixed candidates", hint="give the case `items`")
        ran.append(run_case(rehearsal, msgspec.structs.replace(case, name=name)))
    asked = {case.placement for case in cases}
    return Rehearsed(ran=ran, covered=[one for name in rehearsals if name in asked for one in rehearsals[name].covered])


def rehearse_recorded(loaded: Loaded, settings_path: Path) -> Rehearsed:
    """Ask the profile's rules about everything that a device has recorded, at the moments that it decided.

    Raises:
        StoreUnavailable: it recorded nothing.
    """
    settings = load_settings(settings_path, os.environ)
    rehearsals = {place.name: Rehearsal(place) for place in loaded.profile.placement if place.rule}
    ran: list[Ran] = []

    def watch(agent: Agent) -> None:
        for name, rehearsal in rehearsals.items():
            agent.placements[name].watch = _watcher(rehearsal, ran)

    hours, zoned = local_hours(settings.timezone), zoned_times(settings.timezone)
    folder, own = Path(settings.state_dir), settings.bundles
    replay(folder, loaded, settings.device, hours, own, settings.home_key, zoned, watch=watch)
    return Rehearsed(ran=ran, covered=[one for rehearsal in rehearsals.values() for one in rehearsal.covered])


def _watcher(rehearsal: Rehearsal, ran: list[Ran]) -> Any:
    def asked(items: Sequence[str], values: Mapping[str, Any], event_id: str) -> None:
        found = rehearsal.ask(items, values, event_id)
        if len(ran) < RAN_MAX:
            ran.append(found)

    return asked


def in_words(found: Rehearsed, *, brief: bool) -> list[str]:
    """Every case with the rules that applied, then how often each rule did."""
    lines = []
    for one in found.ran:
        if brief and not one.faults:
            continue
        left = f"stopped by {one.stopped}" if one.stopped else f"{len(one.eligible)} of {one.candidates} left"
        lines.append(f"{'FAIL' if one.faults else 'ok  '} {one.placement} {one.name}: {left}")
        lines += [
            f"       {said.rule} ({said.effect}) {said.said} for {said.items}: {said.reason}"
            for said in one.said
            if said.applied
        ]
        lines += [f"       expected otherwise: {fault}" for fault in one.faults]
    if found.covered:
        lines.append(f"{'rule':<40} {'true':>6} {'false':>6} {'failed':>6} {'changed':>7}")
    lines += [
        f"{f'{one.placement}/{one.rule}':<40} {one.true:>6} {one.false:>6} {one.failed:>6} {one.changed:>7}"
        + (f"  <- {one.remark}" if one.remark else "")
        for one in found.covered
    ]
    lines.append(f"{len(found.ran)} cases, {found.failed} failed")
    return lines


def as_data(found: Rehearsed) -> dict[str, Any]:
    """The same as one JSON document."""
    rules = [{**msgspec.structs.asdict(one), "remark": one.remark} for one in found.covered]
    ran: list[Any] = json.loads(msgspec.json.encode(found.ran))
    return {"cases": ran, "rules": rules, "failed": found.failed}
