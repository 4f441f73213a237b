"""What the server does with one update: add it, or take it as a gradient of an optimiser with a memory.

The update may be a mean of reports, a secret sum divided by its members, or a private round's noised mean: what an
optimiser makes of it is a function of what was released before, so it costs no privacy.

Source: Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2 (FedAdagrad, FedAdam, FedYogi); Hsu et al.
2019, "Measuring the Effects of Non-Identical Data Distribution", section 4.3 (FedAvgM); Kingma and Ba 2015, alg. 1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.errors import AggregationFailed
from coordinator.strategies.settings import Strategy

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
State = dict[str, NDArray[np.floating[Any]]]
"""What a strategy remembers between rounds, by name. Saved with the round's parameters."""
STEPS = "steps"


def moved(
    strategy: Strategy,
    shared: Mapping[str, F32],
    update: Mapping[str, F64],
    state: Mapping[str, NDArray[np.floating[Any]]],
    done: float = 0.0,
) -> tuple[dict[str, F32], State]:
    """The shared parameters after one update, and what to remember.

    Args:
        shared: before, float32.
        update: of the same names and shapes.
        state: as the round before left it; empty at first.
        done: share of the run's rounds that lie behind, in [0, 1); only a strategy that fades looks at it.
    Raises:
        AggregationFailed: what comes out is not finite.
    """
    after: State = dict(state)
    steps = int(state[STEPS]) + 1 if STEPS in state else 1
    after[STEPS] = np.array(steps, np.float64)
    new: dict[str, F32] = {}
    for name, value in shared.items():
        change = np.asarray(update[name], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            new[name] = np.asarray(value + _step(strategy, name, change, after, steps, done), np.float32)
        if not np.isfinite(new[name]).all():
            raise AggregationFailed(
                f"the new `{name}` is not finite", hint="lower the learning rates, the device's and the server's"
            )
    return new, after


def _step(strategy: Strategy, name: str, change: F64, state: State, steps: int, done: float) -> F64:
    """How far one tensor goes; `state` is brought up to date."""
    match strategy.preset.optimiser:
        case "add":
            return strategy["server_lr"] * change
        case "momentum":
            memory = strategy["momentum"] * _held(state, f"momentum/{name}", change) + change
            state[f"momentum/{name}"] = memory.astype(np.float32)
            return strategy["server_lr"] * memory
        case "adagrad":
            second = _held(state, f"second/{name}", change) + change * change
            state[f"second/{name}"] = second.astype(np.float32)
            return strategy["server_lr"] * change / (np.sqrt(second) + strategy["tau"])
        case "adam":
            return _adam(strategy, name, change, state, steps, done)
        case "yogi":
            first = _first(strategy, name, change, state)
            second = _held(state, f"second/{name}", change)
            square = change * change
            second = second - (1.0 - strategy["beta_2"]) * square * np.sign(second - square)
            state[f"second/{name}"] = second.astype(np.float32)
            return strategy["server_lr"] * first / (np.sqrt(second) + strategy["tau"])


def _adam(strategy: Strategy, name: str, change: F64, state: State, steps: int, done: float) -> F64:
    """`fedadam` is Flower's: its bias is corrected as if one step more had been made, its tau stands outside of the
    correction. `adam` is Kingma and Ba's, as the zoo's `affinity-recent` is built; its learning rate may fade.
    """
    b1, b2 = strategy["beta_1"], strategy["beta_2"]
    first = _first(strategy, name, change, state)
    second = b2 * _held(state, f"second/{name}", change) + (1.0 - b2) * change * change
    state[f"second/{name}"] = second.astype(np.float32)
    if strategy.name == "fedadam":
        rate = strategy["server_lr"] * np.sqrt(1.0 - b2 ** (steps + 1.0)) / (1.0 - b1 ** (steps + 1.0))
        return np.asarray(rate * first / (np.sqrt(second) + strategy["tau"]), np.float64)
    rate = strategy["server_lr"] * (1.0 - done if strategy["fade"] else 1.0)
    unbiased = np.sqrt(second / (1.0 - b2**steps)) + strategy["tau"]
    return np.asarray(rate * first / (1.0 - b1**steps) / unbiased, np.float64)


def _first(strategy: Strategy, name: str, change: F64, state: State) -> F64:
    first = strategy["beta_1"] * _held(state, f"first/{name}", change) + (1.0 - strategy["beta_1"]) * change
    state[f"first/{name}"] = first.astype(np.float32)
    return first


def _held(state: Mapping[str, NDArray[np.floating[Any]]], key: str, like: F64) -> F64:
    return state[key].astype(np.float64) if key in state else np.zeros_like(like)
