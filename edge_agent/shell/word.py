"""A person's word about a purpose, told over MQTT as an app tells it, and awaited until the agent has it."""

import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge_agent.errors import SubjectUnknown
from edge_agent.memory.consent import Consents
from edge_agent.settings import Settings
from edge_agent.shell import visit
from edge_agent.shell.clock import wall_ms
from edge_agent.shell.kin import consents_of
from edge_agent.shell.vitals import ask
from firmware_configs.consent_receipt import State, receipt
from firmware_configs.errors import UsageError
from firmware_configs.messages import Topics
from firmware_configs.profile import Profile

WAIT_S = 5.0
"""How long to wait for a running agent to have it on the medium."""


class Said(Struct, frozen=True, kw_only=True):
    """What came of a word."""

    state: State
    took_ms: int
    """Until the agent had stored it; 0: it has not, within WAIT_S or because none runs."""
    receipt: dict[str, Any]
    """The person's record, with the fields of ISO/IEC TS 27560."""


def say(settings: Settings, profile: Profile, subject: str, purpose: str, *, yes: bool) -> Said:
    """Tell that the subject agrees to a purpose, in the words that the profile has today, or that it does not.

    Raises:
        UsageError: no topic can name this subject.
        SubjectUnknown: there is no such purpose, or nobody's word makes a difference to it.
        BrokerError: it is not told.
    """
    if not subject or any(sign in subject for sign in "+#/\x00"):
        raise UsageError(f"`{subject}` cannot be named in a topic", hint="a subject has none of the characters + # /")
    consents, _ = stored(settings, profile)
    if purpose not in consents.asked:
        named = ", ".join(sorted(consents.asked)) or "none"
        raise SubjectUnknown(f"nobody is asked about `{purpose}`", hint=f"people are asked about {named}")
    held = consents.word(subject)
    time_ms = max(wall_ms(), held.time_ms + 1)
    state = _state(consents, purpose, yes=yes, was=purpose in consents.granted(subject))
    record = receipt(profile, settings.device, subject, purpose, state, consents.version(purpose), time_ms)
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
    return Said(state=state, took_ms=_until_heard(settings, profile, subject, time_ms, started), receipt=record)


def stored(settings: Settings, profile: Profile) -> tuple[Consents, list[str]]:
    """What everybody has said, as the agent has it; and who."""
    return consents_of(Path(settings.state_dir), profile, wall_ms())


def _state(consents: Consents, purpose: str, *, yes: bool, was: bool) -> State:
    if purpose in consents.needed:
        return "given" if yes else "withdrawn" if was else "refused"
    return "objection-withdrawn" if yes else "objected"


def _until_heard(settings: Settings, profile: Profile, subject: str, time_ms: int, started: float) -> int:
    """Milliseconds until the agent has stored the word; 0: it has not, within WAIT_S or because none runs."""
    if ask(Path(settings.state_dir)) is None:
        return 0
    while time.monotonic() - started < WAIT_S:
        if stored(settings, profile)[0].told_ms(subject) >= time_ms:
            return max(1, int((time.monotonic() - started) * 1_000))
        time.sleep(0.01)
    return 0
