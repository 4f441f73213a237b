"""What became of a decision, for the experiment that it was part of."""

from typing import TYPE_CHECKING

from edge_agent.batch import Batch
from edge_agent.decide.decision import Trail
from firmware_configs.messages import Shares

if TYPE_CHECKING:
    from edge_agent.agent import Agent
    from edge_agent.experiments import DeviceExperiments
    from edge_agent.happenings import Allocated

REWARD = "reward"
"""The metric that every placement has: what its outcomes are worth."""


def experiments_of(agent: "Agent") -> "DeviceExperiments | None":
    """The profile's experiments; None when it has none, and then nothing of them is even imported."""
    found = [(place.placement, place.assignment) for place in agent.placements.values() if place.assignment is not None]
    if not found:
        return None
    from edge_agent.experiments import DeviceExperiments

    return DeviceExperiments(agent, found)


def allocate(agent: "Agent", happening: "Allocated", batch: Batch) -> None:
    """A replay has come to where the shares of an experiment were moved."""
    if agent.experiments is not None:
        word = Shares(plan=happening.plan, number=happening.number, shares=happening.shares)
        agent.experiments.allocate({happening.experiment: word}, batch)


def expose(agent: "Agent", trail: Trail, batch: Batch) -> None:
    """A decision was made: whoever it is for is measured from now on, if its placement has an experiment."""
    if agent.experiments is not None and (one := agent.experiments.by_placement.get(trail.placement)) is not None:
        one.decided(trail, batch)


def observe(agent: "Agent", trail: Trail, metric: str, value: float, batch: Batch) -> None:
    """Take an outcome into the statistics of the decision's experiment.

    Args:
        trail: of the decision that the outcome belongs to.
        metric: `reward`, or one that the profile declares.
        value: of the metric, in its own unit.
    """
    if agent.experiments is not None and (one := agent.experiments.by_placement.get(trail.placement)) is not None:
        agent.count("experiment.outcomes")
        one.observed(trail, metric, value, batch)
