"""The committed state, taken up again at a start: which row is whose."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from edge_agent import alerts, objectives
from edge_agent.effects import Room
from edge_agent.intake import retained
from edge_agent.limits import DRIFT
from firmware_configs import messages

if TYPE_CHECKING:
    from edge_agent.agent import Agent


def restore(agent: "Agent", rows: Iterable[tuple[Room, str, bytes, int]], now_ms: int) -> None:
    """Hand each row to the part that wrote it; see `Agent.restore`."""
    seen: list[tuple[str, int]] = []
    ledger: list[bytes] = []
    for room, key, value, expires_ms in rows:
        match room:
            case "dedupe":
                seen.append((key, expires_ms))
            case "watermark" if key in agent.sources:
                agent.sources[key].watermark.newest_ms = int(value)
            case "consent":
                word = msgspec.msgpack.decode(value, type=messages.Consent)
                agent.consents.hear(key, word.purposes, word.time_ms, now_ms, word.versions)
            case "due" | "delivery" | "letter" | "identity":
                _restore_part(agent, room, key, value)
            case "ledger":
                ledger.append(value)
            case "meta":
                _restore_meta(agent, key, value)
    agent.dedupe.restore(seen)
    agent.gate.ledger.restore(ledger, now_ms)
    agent.counted = dict(agent.counters)


def _restore_part(agent: "Agent", room: str, key: str, value: bytes) -> None:
    """A row of what only some profiles have."""
    if room == "identity":
        agent.people.restore(key, value)
    elif room == "due" and agent.outcomes is not None:
        agent.outcomes.restore(key, int(value))
    elif room != "due" and agent.reach is not None:
        agent.reach.restore(room, value)


def _restore_meta(agent: "Agent", key: str, value: bytes) -> None:
    """A row of which there is one, or one of each of few."""
    if key == "counters":
        agent.counters.update(msgspec.msgpack.decode(value, type=dict[str, int]))
    elif key == "present":
        agent.presence.restore(value)
    elif key.startswith("layout:"):
        agent.layouts.restore(int(key[7:]), value)
    elif key.startswith(retained.PREFIX):
        agent.retained.restore(key.removeprefix(retained.PREFIX), value)
    elif key == alerts.ROW:
        agent.alerts.restore(value)
    elif key.startswith(objectives.PREFIX):
        if agent.objectives is not None:
            agent.objectives.restore(key, value)
    elif key.startswith(DRIFT):
        if agent.drift is not None:
            agent.drift.restore(key, value)
    else:
        agent.control.restore(key, value)
