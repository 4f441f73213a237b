"""What people agree to, by purpose and person: see it, say yes, take it back, object. Over MQTT, as an app does it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.commands.options import json_option, profile_option, reason_option, settings_option, show

if TYPE_CHECKING:
    from edge_agent.memory.consent import Consents
    from edge_agent.settings import Settings
    from firmware_configs.profile import Profile

_SUBJECT, _PURPOSE = click.argument("subject"), click.argument("purpose")
_out = click.option("--out", type=click.Path(path_type=Path), help="File for the receipt (ISO/IEC TS 27560 fields).")


@click.group()
def consent() -> None:
    """What each person agrees to; say yes, take it back, object. It counts from the person's next event on."""


@consent.command("ls")
@click.argument("subject", required=False, default="")
@reason_option
@settings_option
@profile_option
@json_option
def list_consents(subject: str, reason: str, settings_path: Path, profile: Path | None, as_json: bool) -> None:
    """Everybody's word (or SUBJECT's), purpose by purpose, and what must be asked again because its text changed."""
    from edge_agent.shell.access import admit
    from edge_agent.shell.word import stored

    settings, declared = _loaded(settings_path, profile)
    admit(Path(settings.state_dir), "subject", subject=subject, what="consent ls", reason=reason)
    consents, heard = stored(settings, declared)
    told = [_told(consents, declared, one) for one in ([subject] if subject else heard)]
    lines = []
    for one in told:
        lines.append(f"{one['subject']}: last said {_when(one['time_ms'])}")
        lines += [f"  {name:<20} {said}" for name, said in one["purposes"].items()]
    show(told, "\n".join(lines) or "nobody has said anything", as_json)


def _word(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command that says a person's word about a purpose."""

    def made(command: Callable[..., None]) -> click.Command:
        for given in reversed((_SUBJECT, _PURPOSE, _out, reason_option, settings_option, profile_option, json_option)):
            command = given(command)
        return consent.command(name)(command)

    return made


@_word("grant")
def grant(**given: Any) -> None:
    """SUBJECT says yes to PURPOSE, in the words that the profile has today; or takes an objection back."""
    _say(True, ("required", "legitimate-interests"), **given)


@_word("withdraw")
def withdraw(**given: Any) -> None:
    """SUBJECT takes the yes to PURPOSE back."""
    _say(False, ("required",), **given)


@_word("object")
def object_to(**given: Any) -> None:
    """SUBJECT objects to PURPOSE, which rests on legitimate interests (GDPR Art. 21)."""
    _say(False, ("legitimate-interests",), **given)


def _say(
    yes: bool,
    kinds: tuple[str, ...],
    *,
    subject: str,
    purpose: str,
    out: Path | None,
    reason: str,
    settings_path: Path,
    profile: Path | None,
    as_json: bool,
) -> None:
    import msgspec

    from edge_agent.shell import word
    from edge_agent.shell.access import admit

    settings, declared = _loaded(settings_path, profile)
    _check(declared, purpose, kinds)
    what = f"consent {'yes' if yes else 'no'} to {purpose}"
    admit(Path(settings.state_dir), "rights", subject=subject, what=what, reason=reason)
    said = word.say(settings, declared, subject, purpose, yes=yes)
    if out is not None:
        out.write_bytes(msgspec.json.format(msgspec.json.encode(said.receipt)) + b"\n")
    effect = f"in effect after {said.took_ms} ms" if said.took_ms else "in effect as soon as the agent hears it"
    data = {"state": said.state, "ms": said.took_ms, "receipt": said.receipt}
    record_id = said.receipt["header"]["record_id"]
    show(data, f"{subject}: {purpose} {said.state}; {effect}; receipt {record_id[:8]}", as_json)


def _check(profile: "Profile", purpose: str, kinds: tuple[str, ...]) -> None:
    from edge_agent.errors import SubjectUnknown

    fits = {one.name: one.consent if one.consent == "required" else one.legal_basis for one in profile.purpose}
    if purpose not in fits:
        raise SubjectUnknown(f"the profile has no purpose `{purpose}`", hint=f"it has {', '.join(fits)}")
    if fits[purpose] not in kinds:
        named = [name for name, kind in fits.items() if kind in kinds]
        why = "needs consent: use `withdraw`" if fits[purpose] == "required" else f"rests on {fits[purpose]}"
        raise SubjectUnknown(f"`{purpose}` {why}", hint=f"this can be said of {', '.join(named) or 'none'}")


def _loaded(settings_path: Path, profile: Path | None) -> "tuple[Settings, Profile]":
    from edge_agent.settings import load as load_settings
    from firmware_configs.loader import load

    settings = load_settings(settings_path, os.environ)
    return settings, load(profile or Path(settings.profile)).profile


def _told(consents: "Consents", profile: "Profile", subject: str) -> dict[str, Any]:
    granted, lapsed, objected = consents.granted(subject), consents.lapsed(subject), consents.objected(subject)
    said = {}
    for one in profile.purpose:
        if one.consent == "required":
            yes = "yes" if one.name in granted else "no"
            said[one.name] = "no: the text has changed, ask again" if one.name in lapsed else yes
        else:
            said[one.name] = "objected" if one.name in objected else f"not asked ({one.legal_basis})"
    return {"subject": subject, "time_ms": consents.told_ms(subject), "purposes": said}


def _when(at_ms: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M} UTC" if at_ms else "never"
