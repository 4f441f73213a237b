"""What comes next? A gated recurrent unit over the last items of one subject.

Items share one embedding table between what was touched and what is proposed (tied, as in Hidasi et al. 2016,
"Session-based Recommendations with Recurrent Neural Networks", with their item table in place of one-hot inputs).
"""

from collections.abc import Mapping
from typing import Any

from models.architecture import Architecture, Rows, Tensor
from models.build import Draft, Options
from models.elementwise import as_float, as_index, sigmoid, tanh
from models.zoo import sequence
from models.zoo.sequence import DIMENSIONS, LENGTH


def forward(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    """Logit of "this item comes next", (n,). Gates come in the order reset, update, fresh."""
    place = as_index(x["recent"].T)  # (LENGTH, n), row + 1, 0 empty
    seen = p["item_embedding"][(place - 1).clip(0, None)]  # (LENGTH, n, d)
    pushed = seen[:, None, :, :] @ p["input_weight"] + p["gate_bias"]  # (LENGTH, 3, n, d)
    state = seen[0] * 0.0  # (n, d)
    # Taken apart by iteration, not by slices: the slope of a slice is a tensor of zeros around it.
    for now, filled in zip(pushed, as_float(place > 0), strict=True):
        push_reset, push_update, push_fresh = now
        held_reset, held_update, held_fresh = state @ p["state_weight"]  # (3, n, d)
        fresh = tanh(push_fresh + sigmoid(push_reset + held_reset) * held_fresh)
        # An empty place leaves the state as it is.
        state = state + sigmoid(push_update + held_update) * filled[:, None] * (fresh - state)
    item = x["item"]
    return (state * p["item_embedding"][item]).sum(-1) + p["item_bias"][item] + p["bias"]


ARCHITECTURE = Architecture(
    name="sequence-gru",
    task="rank",
    parameters=(
        Tensor(name="item_embedding", shape=("items", DIMENSIONS), share="shared", decay=1e-5),
        Tensor(name="item_bias", shape=("items",), share="shared", decay=1e-5),
        Tensor(name="input_weight", shape=(3, DIMENSIONS, DIMENSIONS), share="shared"),
        Tensor(name="state_weight", shape=(3, DIMENSIONS, DIMENSIONS), share="shared"),
        Tensor(name="gate_bias", shape=(3, 1, DIMENSIONS), share="shared"),
        Tensor(name="bias", shape=(1,), share="personal"),
    ),
    inputs=(
        Rows(name="recent", dtype="float32", columns=LENGTH, recent=True),
        Rows(name="item", dtype="int64"),
    ),
    forward=forward,
    optimiser="adam",
)


def build(options: Options) -> Draft:
    """From the interactions that were given."""
    return sequence.build(ARCHITECTURE, options)


def measure(weights: Mapping[str, Any], options: Options) -> float:
    """Hit rate at 10, in percent."""
    return sequence.measure(ARCHITECTURE, weights, options)
