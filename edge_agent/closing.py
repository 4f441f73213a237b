"""Reward windows that close without an outcome: what that is worth counts, once."""

from typing import TYPE_CHECKING

import msgspec

from edge_agent.batch import Batch
from edge_agent.decide import decision
from edge_agent.observing import REWARD, observe
from edge_agent.placements import CompiledPlacement

if TYPE_CHECKING:
    from edge_agent.agent import Agent


def close_due(agent: "Agent", place: CompiledPlacement, batch: Batch) -> None:
    """Close what is due before the placement decides or learns, so that when this runs changes nothing.

    A decision whose trail is no longer kept (retention, erasure) teaches nothing.
    """
    value = place.placement.no_outcome
    if value is None:
        return
    for waiting in place.exploring.due(batch):
        packed = agent.recent.get(waiting.decision) or agent.doors.recall("decision", waiting.decision)
        if packed is None:
            continue
        try:
            trail = decision.unpack(packed)
        except msgspec.MsgspecError:
            continue
        for item in waiting.items:
            agent.count("feedback.none")
            place.exploring.rewarded(trail, item, value, waiting.due_ms, batch)
            agent.trials.rewarded(trail.bundles, value)
            if agent.drift is not None:
                agent.drift.rewarded(trail, item, value, batch)
            observe(agent, trail, REWARD, value, batch)
