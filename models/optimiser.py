"""What an optimiser remembers from step to step: tensors that go in and out of train_step.onnx beside the weights.

The state of parameter `w` is named `w.KIND`, so it goes where its parameter goes: personal with personal.
"""

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Optimiser = Literal["sgd", "momentum", "adam"]

MOMENTUM: Final = 0.9
BETA_MEAN: Final = 0.9
BETA_SQUARE: Final = 0.999
EPSILON: Final = 1e-7
"""As in Keras. The ONNX exporter takes 1e-8, the paper's value, for a zero and drops the addition."""

KINDS: dict[Optimiser, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("velocity",),
    "adam": ("mean", "square", "steps"),
}
"""`steps` is one number, the others have the shape of their parameter."""


def state_shapes(optimiser: Optimiser, parameters: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """State name → shape, for the trained parameters name → shape, in the order of the graph."""
    return {
        f"{name}.{kind}": () if kind == "steps" else shape
        for name, shape in parameters.items()
        for kind in KINDS[optimiser]
    }


def owner(state: str) -> str:
    """The parameter that a state belongs to; a parameter's own name is its own."""
    return state.partition(".")[0]


def belonging(after: Mapping[str, F32], names: Mapping[str, F32]) -> dict[str, F32]:
    """Parameters of `names` and their state, out of everything that a step gave."""
    return {name: value for name, value in after.items() if owner(name) in names}
