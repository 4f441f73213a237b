"""One round of a strategy: reports in, the next shared parameters and what to remember out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import robust
from coordinator.aggregate import Report, rows
from coordinator.errors import AggregationFailed
from coordinator.rule_names import RULES, Rule
from coordinator.strategies import clusters, scaffold
from coordinator.strategies.fair import fair_update
from coordinator.strategies.optimisers import State, moved
from coordinator.strategies.settings import Strategy

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Occasion(Struct, frozen=True, kw_only=True):
    """What a strategy may know of the round beside its reports."""

    number: int = 1
    rounds: int = 1
    lr: float = 1.0
    """Of the devices' steps."""
    devices: int = 0
    """Of the fleet; 0: as many as report."""
    seed: int = 0
    rule: Rule | None = None
    """Instead of the strategy's own way from many updates to one."""
    hostile_share: float = 0.2

    @property
    def done(self) -> float:
        """Share of the rounds that lie behind."""
        return (self.number - 1) / max(1, self.rounds)


def combine(
    strategy: Strategy,
    shared: Mapping[str, F32],
    reports: Sequence[Report],
    state: Mapping[str, NDArray[np.floating[Any]]],
    occasion: Occasion,
) -> tuple[dict[str, F32], State]:
    """The shared parameters after a round, and what to remember for the next.

    Args:
        shared: before, float32; left as it was.
        reports: in any order.
        state: as the round before left it; empty at first.
    Returns:
        float32 tensors of the shared parameters' shapes, and the state: arrays by name.
    Raises:
        AggregationFailed: there are no reports, too few for the rule, or what comes out is not finite.
    """
    if not reports:
        raise AggregationFailed("there are no reports", hint="see the agents' logs")
    if strategy.preset.device == "ifca":
        models = clusters.models_of(state, shared, int(strategy["clusters"]), strategy["spread"], occasion.seed)
        return clusters.averaged(models, reports, state)
    update = shaped(shared, _one(strategy, shared, reports, occasion))
    return take(strategy, shared, update, len(reports), state, occasion)


def take(
    strategy: Strategy,
    shared: Mapping[str, F32],
    update: Mapping[str, F64],
    members: float,
    state: Mapping[str, NDArray[np.floating[Any]]],
    occasion: Occasion,
) -> tuple[dict[str, F32], State]:
    """The same where only the mean of the updates is known: after a secret sum, or in a private round.

    Args:
        update: the mean, float64.
        members: how many updates it is of.
    """
    after: Mapping[str, NDArray[np.floating[Any]]] = state
    if strategy.preset.device == "scaffold":
        share = min(1.0, members / occasion.devices) if occasion.devices else 1.0
        after = scaffold.controlled(shared, update, state, share, int(strategy["steps"]), occasion.lr)
    return moved(strategy, shared, update, after, occasion.done)


def _one(strategy: Strategy, shared: Mapping[str, F32], reports: Sequence[Report], occasion: Occasion) -> F64:
    """Many updates as one, float64 (d,)."""
    rule = strategy.preset.rule
    if occasion.rule is not None:
        return robust.combine(occasion.rule, rows(shared, reports), occasion.hostile_share).update
    for robust_rule in RULES:
        if rule == robust_rule:
            return robust.combine(robust_rule, rows(shared, reports), strategy["hostile_share"]).update
    if rule == "fair":
        return fair_update(shared, reports, strategy["q"], occasion.lr)
    # SCAFFOLD's devices count once each: all make the same number of steps.
    once = strategy.preset.device == "scaffold"
    return mean(shared, reports, [1.0 if once else float(report.examples) for report in reports])


def mean(shared: Mapping[str, F32], reports: Sequence[Report], weights: Sequence[float]) -> F64:
    """Σ wᵢ·updateᵢ / Σ wᵢ of all parameters end to end, float64 (d,), a report at a time.

    Raises:
        AggregationFailed: the weights do not add up to something above 0.
    """
    total = float(sum(weights))
    if not total > 0.0:
        raise AggregationFailed("the reports weigh nothing", hint="see the agents' logs")
    parts = []
    for name, value in shared.items():
        step = np.zeros(value.shape, np.float64)
        for report, weight in zip(reports, weights, strict=True):
            step += report.delta[name].astype(np.float64) * (report.scales[name] * weight / total)
        parts.append(step.reshape(-1))
    return np.concatenate(parts)


def shaped(shared: Mapping[str, F32], vector: F64) -> dict[str, F64]:
    """A vector of all parameters end to end as tensors again."""
    found, at = {}, 0
    for name, value in shared.items():
        found[name] = vector[at : at + value.size].reshape(value.shape)
        at += value.size
    return found
