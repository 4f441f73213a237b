"""The moment at which a person is most receptive, of those until a decision expires: one call of the moment's model."""

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.decide.moment import best
from edge_agent.placements import Occasion
from firmware_configs.profile import Moment
from models.errors import ModelError
from models.spec import OthersPresent

if TYPE_CHECKING:
    from edge_agent.agent import Agent

MOMENTS_MAX = 32


def moment_of(agent: "Agent", declared: Moment, occasion: Occasion, expires_ms: int) -> tuple[int, str]:
    """When to deliver, and why.

    The model is asked for the chance that the person acts within the hour, at each moment until the expiry, as if
    nothing else happened until then. It is asked once, when the decision is made: what it said then is committed with
    the decision, so a restart changes nothing and a tick asks no model.

    Returns:
        (Unix ms not to deliver before, words for the trail).
    """
    model = agent.doors.models.get(declared.model)
    if model is None:
        return occasion.now_ms, f"no bundle of {declared.model} is active, so at once"
    state, now_ms, step_ms = agent.profile_of(occasion.subject), occasion.now_ms, int(declared.step_s * 1_000)
    count = min(MOMENTS_MAX, max(1, -(-(expires_ms - now_ms) // step_ms)))
    times = [now_ms + n * step_ms for n in range(count)]

    def others(spec: OthersPresent) -> float:
        return agent.presence.others(occasion.subject, now_ms, int(spec.window_s * 1_000), spec.most)

    feeds = {
        given.name: np.concatenate(
            [agent.features.row(given, state, at, agent.doors.local_hour(at), others) for at in times]
        )
        for given in model.spec.inputs
        if given.from_ == "features"
    }
    try:
        scores = model.score({**occasion.personal(model), **feeds})
    except ModelError as error:
        return now_ms, f"{error.code}: {error.what}; so at once"
    chances = [float(score) for score in scores]
    chosen = best(chances, declared.step_s, declared.discount)
    told = f"{model.name} {model.version} gives {chances[chosen]:.4f} then and {chances[0]:.4f} now"
    return times[chosen], f"{told}, of {count} moments"
