"""Reads decisions and their outcomes from a device's database, beside the running agent."""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from edge_agent.choosers import Context, Everything
from edge_agent.decide import decision, delivery
from edge_agent.decide.decision import Trail
from edge_agent.exploring import Columns
from edge_agent.learn import earned
from edge_agent.learn.earned import Earned
from edge_agent.shell import database
from models.bundle import SUFFIX, open_bundle

T = TypeVar("T")
READ_MAX = 200_000
"""Decisions that are evaluated at most: the newest."""

_DECISIONS = """
SELECT value FROM shelf WHERE shelf = 'decision' AND grp = ? AND made_ms >= ? ORDER BY number DESC LIMIT ?
"""
_DELIVERED = "SELECT room, key, value FROM state WHERE room IN ('delivery', 'delivered')"
_OUTCOMES = "SELECT value FROM shelf WHERE shelf = 'outcome' AND grp = ? AND made_ms >= ? ORDER BY number"
_PLACEMENTS = "SELECT grp, count(*) FROM shelf WHERE shelf = 'decision' GROUP BY grp ORDER BY grp"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a database holds of one placement."""

    trails: tuple[Trail, ...]
    earned: dict[str, list[Earned]]
    """Decision's id → its outcomes."""
    unreadable: int
    """Decisions and outcomes of a form that this version does not know."""


def placements(state_dir: Path) -> dict[str, int]:
    """Placement → decisions held.

    Raises:
        StoreUnavailable, StoreCorrupt, SchemaTooNew
    """
    connection = database.open_readable(state_dir / database.FILE)
    try:
        return dict(connection.execute(_PLACEMENTS).fetchall())
    except sqlite3.Error as error:
        raise database.named(error, state_dir / database.FILE) from error
    finally:
        connection.close()


def held(state_dir: Path, placement: str, since_ms: int) -> Held:
    """The newest decisions of a placement made since then, with their outcomes.

    What repeats a choice that stood was not chosen there, and what no channel has carried nobody saw: both are left
    out.

    Raises:
        StoreUnavailable, StoreCorrupt, SchemaTooNew
    """
    connection = database.open_readable(state_dir / database.FILE)
    try:
        decisions = connection.execute(_DECISIONS, (placement, since_ms, READ_MAX)).fetchall()
        outcomes = connection.execute(_OUTCOMES, (placement, since_ms)).fetchall()
        delivered = connection.execute(_DELIVERED).fetchall()
    except sqlite3.Error as error:
        raise database.named(error, state_dir / database.FILE) from error
    finally:
        connection.close()
    trails, came = _sound(decision.unpack, decisions), _sound(earned.unpack, outcomes)
    unreadable = len(decisions) - len(trails) + len(outcomes) - len(came)
    told = {key for room, key, value in delivered if _was_told(room, value)}
    trails = [
        one for one in trails if one.reach is None or (not one.reach.standing and (one.channel or one.id in told))
    ]
    found: dict[str, list[Earned]] = {}
    for one in came:
        found.setdefault(one.decision, []).append(one)
    return Held(trails=tuple(trails), earned=found, unreadable=unreadable)


def context_of(state_dir: Path, trails: Sequence[Trail]) -> Context:
    """Which served numbers a policy learns on, by the bundles of the newest decision.

    A bundle that this device does not hold in its own folder (the settings' own) cannot say which numbers are rows of
    items; then all of them count.
    """
    newest = max(trails, key=lambda trail: trail.decided_ms, default=None)
    if newest is None:
        return Everything({})
    specs = []
    for name, version in newest.bundles.items():
        path = state_dir / "bundles" / f"{name}-{version}{SUFFIX}"
        if not path.is_file():
            return Everything(newest.features)
        specs.append(open_bundle(path).spec)
    return Columns(specs)


def _was_told(room: str, packed: bytes) -> bool:
    try:
        return delivery.was_told(delivery.unpack(packed).notes if room == "delivery" else delivery.unpack_notes(packed))
    except msgspec.MsgspecError:
        return False


def _sound(unpack: Callable[[bytes], T], rows: Sequence[tuple[bytes]]) -> list[T]:
    """What can be read; another version may have written rows of another form."""
    found = []
    for (packed,) in rows:
        with contextlib.suppress(msgspec.MsgspecError):
            found.append(unpack(packed))
    return found
