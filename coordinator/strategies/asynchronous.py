"""Rounds without a common hour: a report counts when it comes, the less the older what it started from.

Source: Nguyen et al. 2022, "Federated Learning with Buffered Asynchronous Aggregation" (FedBuff), algorithm 1; the
staleness weights are those of Xie et al. 2019, "Asynchronous Federated Optimization", section 5.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator.aggregate import Report
from coordinator.errors import AggregationFailed, StrategyRefused
from coordinator.strategies.combine import Occasion, shaped, take
from coordinator.strategies.optimisers import State
from coordinator.strategies.settings import Strategy

F32 = NDArray[np.float32]


class Staleness(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a report counts that started from parameters of `age` versions ago."""

    kind: Literal["constant", "poly", "hinge"] = "poly"
    a: float = 0.5
    b: float = 0.0

    def weight(self, age: int) -> float:
        """In (0, 1]; 1 for a fresh one, and never more for an older one."""
        match self.kind:
            case "constant":
                return 1.0
            case "poly":
                return float((1.0 + age) ** -self.a)
            case "hinge":
                return 1.0 if age <= self.b else 1.0 / (self.a * (age - self.b) + 1.0)


class Asynchronous(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run goes on without waiting for a round's devices."""

    buffer: int
    """Reports that make a new version."""
    staleness: Staleness = Staleness()


class Arrival(Struct, frozen=True, kw_only=True):
    """A report, and how old what it started from has become."""

    report: Report
    age: int
    """Versions since, from 0."""


def read_staleness(word: str) -> Staleness:
    """`constant`, `poly:A` for (1 + age)^-A, or `hinge:A,B` for 1 up to age B and 1 / (A·(age - B) + 1) beyond.

    Raises:
        StrategyRefused: it is none of these, or a number is negative.
    """
    kind, _, rest = word.partition(":")
    hint = "constant, poly:A or hinge:A,B, with numbers from 0 to 1000"
    try:
        numbers = [float(part) for part in rest.split(",")] if rest else []
    except ValueError:
        raise StrategyRefused(f"`{word}` is no staleness", hint=hint) from None
    wanted = {"constant": 0, "poly": 1, "hinge": 2}
    if wanted.get(kind) != len(numbers) or not all(math.isfinite(n) and 0.0 <= n <= 1_000.0 for n in numbers):
        raise StrategyRefused(f"`{word}` is no staleness", hint=hint)
    a, b = (*numbers, 0.0, 0.0)[:2]
    return Staleness(kind=kind, a=a, b=b)  # type: ignore[arg-type]


def buffered(
    strategy: Strategy,
    shared: Mapping[str, F32],
    arrivals: Sequence[Arrival],
    staleness: Staleness,
    state: Mapping[str, NDArray[np.floating[Any]]],
    occasion: Occasion,
) -> tuple[dict[str, F32], State]:
    """The next version: shared + Σ wᵢ·s(ageᵢ)·updateᵢ / Σ wᵢ through the strategy's optimiser.

    The weights are not made to sum to one again: a buffer of old reports makes a smaller step, as in FedBuff. With
    fresh reports alone it is the strategy's ordinary round.

    Args:
        shared: the newest version.
        arrivals: in any order; wᵢ is the bucketed example count.
    Raises:
        AggregationFailed: there are none, or what comes out is not finite.
    """
    total = float(sum(one.report.examples for one in arrivals))
    if not total > 0.0:
        raise AggregationFailed("there are no reports", hint="see the agents' logs")
    parts = []
    for name, value in shared.items():
        step = np.zeros(value.shape, np.float64)
        for one in arrivals:
            share = one.report.examples * staleness.weight(one.age) / total
            step += one.report.delta[name].astype(np.float64) * (one.report.scales[name] * share)
        parts.append(step.reshape(-1))
    return take(strategy, shared, shaped(shared, np.concatenate(parts)), len(arrivals), state, occasion)
