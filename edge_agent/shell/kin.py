"""Reads who is who from a device's database, beside the running agent."""

from pathlib import Path

import msgspec
from msgspec.structs import replace

from edge_agent.decide.decision import Trail
from edge_agent.effects import Room
from edge_agent.identity import IdentityGraph, mark_of
from edge_agent.memory.consent import Consents
from edge_agent.shell import database
from firmware_configs import messages
from firmware_configs.profile import Profile

SEEN = "seen\x00"
UNKNOWN = "a subject that is no longer known"
_QUERY = "SELECT key, value FROM state WHERE room = ? ORDER BY key"


def graph(state_dir: Path, profile: Profile, now_ms: int) -> IdentityGraph | None:
    """The identity graph as it is stored; None: the profile has none."""
    if profile.identity is None:
        return None
    consents, _ = consents_of(state_dir, profile, now_ms)
    connection = database.open_readable(state_dir / database.FILE)
    found = IdentityGraph(profile, profile.identity, consents, b"")
    for key, value in connection.execute(_QUERY, _room("identity")):
        found.restore(key, value)
    connection.close()
    return found


def consents_of(state_dir: Path, profile: Profile, now_ms: int) -> tuple[Consents, list[str]]:
    """What everybody has agreed to, as it is stored; and who has said anything, sorted.

    Raises:
        StoreError: there is no database here.
    """
    consents, subjects = Consents(profile.purpose), []
    connection = database.open_readable(state_dir / database.FILE)
    for subject, value in connection.execute(_QUERY, _room("consent")):
        word = msgspec.msgpack.decode(value, type=messages.Consent)
        consents.hear(subject, word.purposes, word.time_ms, now_ms, word.versions)
        subjects.append(subject)
    connection.close()
    return consents, subjects


def named(state_dir: Path, trail: Trail) -> Trail:
    """The trail with names for the marks of linked subjects, as far as these are still known here."""
    connection = database.open_readable(state_dir / database.FILE)
    (secret,) = connection.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()
    keys = [key for key, _ in connection.execute(_QUERY, _room("identity"))]
    connection.close()
    subjects = [key.removeprefix(SEEN) for key in keys if key.startswith(SEEN)]
    names = {mark_of(secret, subject): subject for subject in subjects}
    kin = tuple(replace(k, one=names.get(k.one, UNKNOWN), other=names.get(k.other, UNKNOWN)) for k in trail.kin)
    return replace(trail, kin=kin)


def _room(name: Room) -> tuple[str]:
    return (name,)
