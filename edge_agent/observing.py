"""What became of a decision, for the experiment that it was part of."""

from typing import TYPE_CHECKING

from edge_agent.batch import Batch
from edge_agent.decide.decision import Trail

if TYPE_CHECKING:
    from edge_agent.agent import Agent

REWARD = "reward"
"""The metric that every placement has: what its outcomes are worth."""


def observe(agent: "Agent", trail: Trail, metric: str, value: float, batch: Batch) -> None:
    """Take an outcome into the statistics of the decision's experiment.

    Args:
        trail: of the decision that the outcome belongs to.
        metric: `reward`, or one that the profile declares.
        value: of the metric, in its own unit.
    """
    del metric, value, batch
    if trail.experiment:
        agent.count("experiment.outcomes")
