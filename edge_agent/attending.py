"""Who is here: kept up by events, and stored with them."""

from typing import TYPE_CHECKING

from edge_agent.batch import Batch
from edge_agent.intake.minimise import Minimised

if TYPE_CHECKING:
    from edge_agent.agent import Agent


def attend(agent: "Agent", event: Minimised, batch: Batch) -> None:
    """Somebody had an event."""
    span_ms = min(agent.features.others_ms, agent.retention_ms)
    if agent.presence.hear(event.subject, event.event_time_ms, span_ms, batch.now_ms):
        _keep(agent, batch)


def leave(agent: "Agent", subject: str, batch: Batch) -> None:
    """Keep nothing of somebody."""
    if agent.presence.forget(subject):
        _keep(agent, batch)


def _keep(agent: "Agent", batch: Batch) -> None:
    if agent.presence.newest_ms:
        expires_ms = min(agent.presence.newest_ms, batch.now_ms) + agent.retention_ms
        batch.touch("meta", "present", agent.presence.pack, expires_ms)
    else:
        batch.drop("meta", "present")
