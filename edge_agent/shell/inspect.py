"""Reads a device's database beside the running agent: for `explain` and `ledger`."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
from packaging.version import InvalidVersion, Version

from edge_agent import trials, withheld
from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.egress import ledger
from edge_agent.errors import DecisionUnknown
from edge_agent.learn import earned
from edge_agent.learn.earned import Earned
from edge_agent.shell import database
from edge_agent.shell.sweep import pruned_of
from edge_agent.withheld import Withheld
from firmware_configs import ledger_reserve
from models.bundle import SUFFIX

PREFIX_MIN = 6
OUTCOMES_MAX = 50
"""Outcomes of one decision that are told."""
SEARCHED_MAX = 20_000
"""Candidates that are told to people; the trail may hold more."""


def bundles(state_dir: Path) -> dict[str, Any]:
    """Bundle → what serves, what is on trial, what served before, what gave way and why, which versions are held."""
    connection = database.open_readable(state_dir / database.FILE)
    meta = dict(connection.execute("SELECT key, value FROM state WHERE room = 'meta'").fetchall())
    connection.close()
    held: dict[str, list[Version]] = {}
    for path in (state_dir / "bundles").glob(f"*{SUFFIX}"):
        name, _, version = path.name.removesuffix(SUFFIX).rpartition("-")
        with contextlib.suppress(InvalidVersion):
            held.setdefault(name, []).append(Version(version))
    told = {key.split(":", 1)[1] for key in meta if key.startswith("bundle:")}
    return {name: _bundle(name, meta, held.get(name, [])) for name in sorted(told | held.keys())}


def _bundle(name: str, meta: dict[str, bytes], held: list[Version]) -> dict[str, Any]:
    packed, refused = meta.get(f"trial:{name}"), meta.get(f"refused:{name}")
    # The settings' own files lie elsewhere.
    own = [Version(meta[key].decode()) for key in (f"bundle:{name}", f"previous:{name}") if key in meta]
    trial = trials.unpack(packed) if packed else None
    return {
        "active": meta.get(f"bundle:{name}", b"").decode(),
        "previous": meta.get(f"previous:{name}", b"").decode(),
        "trial": {"version": trial.version, "stage": trial.stage, "figures": trial.figures()} if trial else None,
        "refused": msgspec.msgpack.decode(refused, type=dict[str, str]) if refused else {},
        "held": [str(version) for version in sorted({*held, *own}, reverse=True)],
    }


def trail(state_dir: Path, identity: str) -> Trail:
    """A decision's trail, by its id or the start of it.

    Raises:
        DecisionUnknown: there is none, or several.
    """
    connection = database.open_readable(state_dir / database.FILE)
    rows = connection.execute(
        "SELECT id, value FROM shelf WHERE shelf = 'decision' AND id >= ? AND id < ? LIMIT 2",
        (identity, identity + "\x7f"),
    ).fetchall()
    newest = connection.execute("SELECT id FROM shelf WHERE shelf = 'decision' ORDER BY number DESC LIMIT 1").fetchone()
    connection.close()
    if len(identity) < PREFIX_MIN or not rows:
        hint = f"the newest is {newest[0]}" if newest else "this device has decided nothing yet"
        raise DecisionUnknown(f"no decision `{identity}` here", hint=hint)
    if len(rows) > 1:
        raise DecisionUnknown(f"`{identity}` is the start of several decisions", hint="give more of the id")
    return decision.unpack(rows[0][1])


def ledger_summary(state_dir: Path) -> dict[str, Any]:
    """What left, by kind, and whether the chain is whole."""
    with _opened(state_dir) as connection:
        pruned = pruned_of(connection)
        packed = ledger_reserve.rows(connection, state_dir)
    rows = [row for value in packed if (row := ledger.unpack(value)).seq > pruned.through]
    whole = ledger.prune(pruned, rows)
    return {
        "bytes": whole.bytes,
        "entries": len(rows),
        "since": pruned.through + 1,
        "head": whole.head,
        "broken_at": ledger.first_break(rows, pruned.head),
    }


def outcomes_of(state_dir: Path, identity: str) -> list[Earned]:
    """What came of a decision, oldest first."""
    with _opened(state_dir) as connection:
        rows = connection.execute(
            "SELECT value FROM shelf WHERE shelf = 'outcome' AND id >= ? AND id < ? ORDER BY number LIMIT ?",
            (f"{identity}:", f"{identity}:\x7f", OUTCOMES_MAX),
        ).fetchall()
    return [earned.unpack(value) for (value,) in rows]


def withheld_at(state_dir: Path) -> dict[str, list[Withheld]]:
    """Placement → the newest times that nothing was decided or switched, oldest first."""
    with _opened(state_dir) as connection:
        rows = connection.execute("SELECT key, value FROM state WHERE room = 'withheld' ORDER BY key").fetchall()
    return {key: withheld.unpack(value) for key, value in rows}


def of_event(state_dir: Path, event_id: str) -> list[Trail]:
    """The decisions about an event, of the newest `SEARCHED_MAX`, oldest first; its source's name may be left out."""
    with _opened(state_dir) as connection:
        rows = connection.execute(
            "SELECT value FROM shelf WHERE shelf = 'decision' ORDER BY number DESC LIMIT ?", (SEARCHED_MAX,)
        )
        found = [trail for (value,) in rows if is_about((trail := decision.unpack(value)).event_id, event_id)]
    return found[::-1]


def of_subject(state_dir: Path, subject: str, most: int) -> list[Trail]:
    """The newest decisions for a subject, newest first."""
    with _opened(state_dir) as connection:
        rows = connection.execute(
            "SELECT value FROM shelf WHERE shelf = 'decision' AND subject = ? ORDER BY number DESC LIMIT ?",
            (subject, most),
        ).fetchall()
    return [decision.unpack(value) for (value,) in rows]


def is_about(event_id: str, asked: str) -> bool:
    """Whether an id is the one asked for; the agent puts the source's name before the event's own."""
    return event_id == asked or event_id.endswith(f":{asked}")


def last(state_dir: Path, placement: str) -> Trail | None:
    """The newest decision of a placement."""
    with _opened(state_dir) as connection:
        row = connection.execute(
            "SELECT value FROM shelf WHERE shelf = 'decision' AND grp = ? ORDER BY number DESC LIMIT 1", (placement,)
        ).fetchone()
    return decision.unpack(row[0]) if row else None


def _opened(state_dir: Path) -> "contextlib.closing[sqlite3.Connection]":
    return contextlib.closing(database.open_readable(state_dir / database.FILE))
