"""Reads a device's database beside the running agent: for `explain` and `ledger`."""

import contextlib
from pathlib import Path
from typing import Any

import msgspec
from packaging.version import InvalidVersion, Version

from edge_agent import trials
from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.egress import ledger
from edge_agent.errors import DecisionUnknown
from edge_agent.shell import database
from edge_agent.shell.sweep import pruned_of
from models.bundle import SUFFIX

PREFIX_MIN = 6
TOLD_MAX = 5
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
    connection = database.open_readable(state_dir / database.FILE)
    packed = connection.execute("SELECT value FROM ledger ORDER BY seq").fetchall()
    pruned = pruned_of(connection)
    connection.close()
    rows = [row for (value,) in packed if (row := ledger.unpack(value)).seq > pruned.through]
    whole = ledger.prune(pruned, rows)
    return {
        "bytes": whole.bytes,
        "entries": len(rows),
        "since": pruned.through + 1,
        "head": whole.head,
        "broken_at": ledger.first_break(rows, pruned.head),
    }


def in_words(found: Trail) -> list[str]:
    """A decision as a support person would tell it."""
    lines = [
        f"Decision {found.id} for {found.subject or 'nobody in particular'} at {found.placement}:",
        f"  chosen: {', '.join(found.items)} (delivered by {found.channel})",
        f"  because of: {found.trigger} ({found.event_id})",
    ]
    if found.fields:
        told = ", ".join(f"{name} = {_short(value)}" for name, value in found.fields.items())
        lines.append(f"  the event said: {told}")
    for name, row in found.features.items():
        lines.append(f"  {name}: {', '.join(f'{value:g}' for value in row[:12])}{' …' if len(row) > 12 else ''}")
    lines.append(f"  candidates: {found.candidates}, of which {found.eligible} were allowed")
    lines += [f"  rule {r.name} ({r.effect}, {r.items} candidates): {r.reason}" for r in found.rules]
    if found.fallback:
        lines.append(f"  fallback {found.fallback}: {found.fallback_reason}")
    else:
        lines += [
            f"  {'*' if s.item == found.items[0] else ' '} {s.item}: score {s.score:.4f}{_denied(s.eligible)}"
            for s in found.top[:TOLD_MAX]
        ]
        if found.items[0] not in {scored.item for scored in found.top[:TOLD_MAX]}:
            lines.append(f"  * {found.items[0]}: score {found.score:.4f} (chosen to explore)")
    lines += _experiment(found)
    lines.append(f"  policy {found.policy}: it chose this with probability {found.propensity:.6g}")
    for beside in found.shadow:
        told = beside.error or f"it scored this {beside.score:.4f}, its best is {beside.best}"
        lines.append(f"  {beside.model} {beside.version} in shadow: {told}")
    versions = ", ".join(f"{name} {version}" for name, version in found.bundles.items()) or "none"
    lines.append(f"  models: {versions}; profile {found.profile[:12]}")
    return lines


def _experiment(found: Trail) -> list[str]:
    """The arm, and how likely it was; or why there is none."""
    if found.left_out:
        return [f"  no experiment: {found.left_out}"]
    if not found.experiment:
        return []
    layer = f" (layer {found.layer})" if found.layer else ""
    shares = f"shares number {found.allocation} of the coordinator" if found.allocation else "the profile's shares"
    chance = f"into which {found.arm_probability * 100:.4g} % of its people come by {shares}"
    return [f"  experiment {found.experiment}{layer}: arm {found.arm}, {chance}"]


def _denied(eligible: bool) -> str:
    return "" if eligible else " (denied)"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
