"""How a decision reached its person, in words: channels, caps, quiet hours, the moment, and what came of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.decide.decision import Trail
from edge_agent.decide.delivery import Note, unpack, unpack_notes
from edge_agent.shell import database

SAID = {"carries": "carries it", "shut": "shut", "spare": "not needed, another one carries it"}


def notes_of(state_dir: Path, identity: str) -> list[Note]:
    """What became of a decision's message, oldest first; nothing for one that needed no channel."""
    connection = database.open_readable(state_dir / database.FILE)
    query = "SELECT room, value FROM state WHERE key = ? AND room IN ('delivery', 'delivered')"
    rows = dict(connection.execute(query, (identity,)).fetchall())
    connection.close()
    if "delivery" in rows:
        return unpack(rows["delivery"]).notes
    return unpack_notes(rows["delivered"]) if "delivered" in rows else []


def reach_in_words(found: Trail, notes: Sequence[Note]) -> list[str]:
    """Lines for `edge-agent explain`; none for a placement without a delivery."""
    reach = found.reach
    if reach is None:
        return []
    lines = [f"  for the person {reach.person}, about {reach.theme}, importance {reach.importance}"]
    if reach.standing:
        lines.append(f"  it repeats the choice that stands for them: decision {reach.standing}")
    if reach.displaced:
        lines.append(f"  it displaced a less important choice: decision {reach.displaced}")
    if reach.moment:
        lines.append(f"  moment: {reach.moment}")
    if reach.due_ms > found.decided_ms:
        lines.append(f"  not to be delivered before {_when(reach.due_ms)}")
    lines += [f"  channel {c.channel}: {SAID[c.said]}{f': {c.reason}' if c.reason else ''}" for c in reach.considered]
    if not found.channel:
        lines.append(f"  so it waits, until {_when(reach.expires_ms)} at most")
    lines.append(f"  the choice stands until {_when(reach.until_ms)}")
    return lines + [f"  {_when(at_ms)}: {text}" for at_ms, text in notes]


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
