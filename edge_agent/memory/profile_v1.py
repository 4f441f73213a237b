"""Profiles as they were stored first: a map of trackers by key, each a list of numbers or a text."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from edge_agent.limits import SESSION_GAP_MS
from edge_agent.memory.layout import NEWEST, SESSIONS, Layouts
from edge_agent.memory.profile import Profile


class ProfileV1(Struct, kw_only=True):
    """The stored form 1."""

    trackers: dict[str, list[float] | str] = {}
    session_start_ms: int = 0
    session_events: int = 0
    newest_ms: int = 0


_decoder = msgspec.msgpack.Decoder(ProfileV1)


def is_one(packed: bytes) -> bool:
    """Whether a stored profile has this form: it is a msgpack map, later ones are arrays."""
    return packed[:1] >= b"\x80" and packed[:1] < b"\x90"


def read(packed: bytes, layouts: Layouts, words: Mapping[str, Mapping[str, float]]) -> Profile:
    """The profile of a stored form 1, in the present layout.

    What has no time of its own there gets the profile's newest. Trackers that no active bundle needs are left behind.

    Args:
        words: key of a tracker that keeps texts by number → text → number.
    Raises:
        msgspec.MsgspecError: it is none.
    """
    old = _decoder.decode(packed)
    profile = Profile(layouts.now)
    row = profile.row
    row[NEWEST] = old.newest_ms
    if old.session_events:
        row[SESSIONS : SESSIONS + 3] = type(row)(
            "d", (old.session_start_ms, old.newest_ms + SESSION_GAP_MS, old.session_events)
        )
    for key, (at, size) in layouts.now.places.items():
        kind, _, rest = key.partition(":")
        held = old.trackers.get(f"text:{rest.rpartition(':')[0]}" if kind == "text" else key)
        if kind == "text" and isinstance(held, str):
            row[at], row[at + 1] = words.get(key, {}).get(held, 0.0), old.newest_ms
        elif kind == "sequence" and isinstance(held, str):
            profile.texts[key] = held
            row[at : at + size] = type(row)("d", [float(old.newest_ms)] * size)
        elif kind == "last" and isinstance(held, list) and held:
            row[at], row[at + 1] = held[0], old.newest_ms
        elif isinstance(held, list) and len(held) == size:
            row[at : at + size] = type(row)("d", held)
    return profile
