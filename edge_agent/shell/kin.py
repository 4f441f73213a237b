"""Reads who is who from a device's database, beside the running agent."""

from pathlib import Path

import msgspec

from edge_agent.decide.decision import Trail
from edge_agent.effects import Room
from edge_agent.identity import IdentityGraph, mark_of
from edge_agent.identity_told import kin_in_words
from edge_agent.memory.consent import Consents
from edge_agent.shell import database
from firmware_configs import messages
from firmware_configs.profile import Profile

SEEN = "seen\x00"
_QUERY = "SELECT key, value FROM state WHERE room = ? ORDER BY key"


def graph(state_dir: Path, profile: Profile, now_ms: int) -> IdentityGraph | None:
    """The identity graph as it is stored; None: the profile has none."""
    if profile.identity is None:
        return None
    consents = Consents(profile.purpose)
    connection = database.open_readable(state_dir / database.FILE)
    for subject, value in connection.execute(_QUERY, _room("consent")):
        word = msgspec.msgpack.decode(value, type=messages.Consent)
        consents.hear(subject, word.purposes, word.time_ms, now_ms)
    found = IdentityGraph(profile, profile.identity, consents, b"")
    for key, value in connection.execute(_QUERY, _room("identity")):
        found.restore(key, value)
    connection.close()
    return found


def in_words(state_dir: Path, trail: Trail) -> list[str]:
    """What linked a decision's subject with others, as far as these are still known here."""
    connection = database.open_readable(state_dir / database.FILE)
    (secret,) = connection.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()
    keys = [key for key, _ in connection.execute(_QUERY, _room("identity"))]
    connection.close()
    subjects = [key.removeprefix(SEEN) for key in keys if key.startswith(SEEN)]
    return kin_in_words(trail.kin, {mark_of(secret, subject): subject for subject in subjects})


def _room(name: Room) -> tuple[str]:
    return (name,)
