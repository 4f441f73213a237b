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
    """Logit of "this item comes next", (n,)."""
    place = as_index(x["recent"])  # (n, LENGTH), row + 1, 0 empty
    filled = as_float(place > 0)
    seen = p["item_embedding"][(place - 1).clip(0, None)]  # (n, LENGTH, d)
    pushed = seen @ p["input_weight"] + p["gate_bias"]  # (n, LENGTH, 3 d)
    d = DIMENSIONS
    state = seen[:, 0, :] * 0.0  # (n, d)
    for at in range(LENGTH):
        now, held = pushed[:, at, :], state @ p["state_weight"]
        reset = sigmoid(now[:, :d] + held[:, :d])
        update = sigmoid(now[:, d : 2 * d] + held[:, d : 2 * d])
        fresh = tanh(now[:, 2 * d :] + reset * held[:, 2 * d :])
        moved = update * filled[:, at : at + 1]  # an empty place leaves the state as it is
        state = state + moved * (fresh - state)
    item = x["item"]
    return (state * p["item_embedding"][item]).sum(-1) + p["item_bias"][item] + p["bias"]


ARCHITECTURE = Architecture(
    name="sequence-gru",
    task="rank",
    parameters=(
        Tensor(name="item_embedding", shape=("items", DIMENSIONS), share="shared", decay=1e-5),
        Tensor(name="item_bias", shape=("items",), share="shared", decay=1e-5),
        Tensor(name="input_weight", shape=(DIMENSIONS, 3 * DIMENSIONS), share="shared"),
        Tensor(name="state_weight", shape=(DIMENSIONS, 3 * DIMENSIONS), share="shared"),
        Tensor(name="gate_bias", shape=(3 * DIMENSIONS,), share="shared"),
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
