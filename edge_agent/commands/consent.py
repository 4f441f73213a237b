"""What people agree to, by purpose and person: see it, say yes, take it back, object. Over MQTT, as an app does it."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.commands.options import json_option, profile_option, settings_option, show

if TYPE_CHECKING:
    from edge_agent.memory.consent import Consents
    from edge_agent.settings import Settings
    from firmware_configs.consent_receipt import State
    from firmware_configs.profile import Profile

WAIT_S = 5.0
"""How long a command waits for a running agent to have it on the medium."""
_out = click.option("--out", type=click.Path(path_type=Path), help="File for the receipt (ISO/IEC TS 27560 fields).")


@click.group()
def consent() -> None:
    """What each person agrees to; say yes, take it back, object. It counts from the person's next event on."""


@consent.command("ls")
@click.argument("subject", required=False, default="")
@settings_option
@profile_option
@json_option
def list_consents(subject: str, settings_path: Path, profile: Path | None, as_json: bool) -> None:
    """Everybody's word (or SUBJECT's), purpose by purpose, and what must be asked again because its text changed."""
    settings, declared = _loaded(settings_path, profile)
    consents, heard = _stored(settings, declared)
    told = [_told(consents, declared, one) for one in ([subject] if subject else heard)]
    lines = []
    for one in told:
        lines.append(f"{one['subject']}: last said {_when(one['time_ms'])}")
        lines += [f"  {name:<20} {said}" for name, said in one["purposes"].items()]
    show(told, "\n".join(lines) or "nobody has said anything", as_json)


@consent.command()
@click.argument("subject")
@click.argument("purpose")
@_out
@settings_option
@profile_option
@json_option
def grant(
    subject: str, purpose: str, out: Path | None, settings_path: Path, profile: Path | None, as_json: bool
) -> None:
    """SUBJECT says yes to PURPOSE, in the words that the profile has today; or takes an objection back."""
    _say(subject, purpose, True, ("required", "legitimate-interests"), out, settings_path, profile, as_json)


@consent.command()
@click.argument("subject")
@click.argument("purpose")
@_out
@settings_option
@profile_option
@json_option
def withdraw(
    subject: str, purpose: str, out: Path | None, settings_path: Path, profile: Path | None, as_json: bool
) -> None:
    """SUBJECT takes the yes to PURPOSE back."""
    _say(subject, purpose, False, ("required",), out, settings_path, profile, as_json)


@consent.command("object")
@click.argument("subject")
@click.argument("purpose")
@_out
@settings_option
@profile_option
@json_option
def object_to(
    subject: str, purpose: str, out: Path | None, settings_path: Path, profile: Path | None, as_json: bool
) -> None:
    """SUBJECT objects to PURPOSE, which rests on legitimate interests (GDPR Art. 21)."""
    _say(subject, purpose, False, ("legitimate-interests",), out, settings_path, profile, as_json)


def _say(
    subject: str,
    purpose: str,
    yes: bool,
    kinds: tuple[str, ...],
    out: Path | None,
    settings_path: Path,
    profile: Path | None,
    as_json: bool,
) -> None:
    import msgspec

    from edge_agent.shell import visit
    from edge_agent.shell.clock import wall_ms
    from firmware_configs.consent_receipt import receipt
    from firmware_configs.messages import Topics

    settings, declared = _loaded(settings_path, profile)
    if not subject or any(sign in subject for sign in "+#/\x00"):
        raise click.UsageError("a subject has none of the characters + # /")
    _check(declared, purpose, kinds)
    consents, _ = _stored(settings, declared)
    held = consents.word(subject)
    time_ms = max(wall_ms(), held.time_ms + 1)
    state = _state(declared, purpose, yes, was=purpose in consents.granted(subject))
    record = receipt(declared, settings.device, subject, purpose, state, consents.version(purpose), time_ms)
    word = {
        **msgspec.to_builtins(held),
        # All that was ever said: the broker retains one message, and a new device starts from it.
        "purposes": {**held.purposes, purpose: yes},
        "versions": {**held.versions, **({purpose: consents.version(purpose)} if yes else {})},
        "time_ms": time_ms,
        "receipt": record["header"]["record_id"],
        "record": record,
    }
    started = time.monotonic()
    visit.publish(settings, Topics(settings.device).of("consent", subject), msgspec.json.encode(word))
    took_ms = _until_heard(settings, declared, subject, time_ms, started)
    if out is not None:
        out.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    effect = f"in effect after {took_ms} ms" if took_ms else "in effect as soon as the agent hears it"
    data: dict[str, Any] = {"state": state, "ms": took_ms, "receipt": record}
    show(data, f"{subject}: {purpose} {state}; {effect}; receipt {word['receipt'][:8]}", as_json)


def _state(profile: "Profile", purpose: str, yes: bool, *, was: bool) -> "State":
    needed = next(one for one in profile.purpose if one.name == purpose).consent == "required"
    if needed:
        return "given" if yes else "withdrawn" if was else "refused"
    return "objection-withdrawn" if yes else "objected"


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


def _stored(settings: "Settings", profile: "Profile") -> "tuple[Consents, list[str]]":
    """What everybody has said, as the agent has it; and who."""
    from edge_agent.shell.clock import wall_ms
    from edge_agent.shell.kin import consents_of

    return consents_of(Path(settings.state_dir), profile, wall_ms())


def _until_heard(settings: "Settings", profile: "Profile", subject: str, time_ms: int, started: float) -> int:
    """Milliseconds until the agent has stored the word; 0: it has not, within WAIT_S or because none runs."""
    from edge_agent.shell.vitals import ask

    if ask(Path(settings.state_dir)) is None:
        return 0
    while time.monotonic() - started < WAIT_S:
        if _stored(settings, profile)[0].told_ms(subject) >= time_ms:
            return max(1, int((time.monotonic() - started) * 1_000))
        time.sleep(0.01)
    return 0


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
