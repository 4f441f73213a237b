"""What comes next? One block of causal self-attention over the last items of one subject.

After Kang and McAuley 2018, "Self-Attentive Sequential Recommendation": item and place embeddings, attention, a
pointwise feed-forward layer, residuals, layer normalisation, tied item embeddings. The score is read at the newest
place only, and there the causal mask hides nothing, so the graph computes that one query: the same numbers for a
fraction of the work.
"""

from collections.abc import Mapping
from typing import Any

from models.architecture import Architecture, Rows, Tensor
from models.build import Draft, Options
from models.elementwise import as_float, as_index, softmax
from models.zoo import sequence
from models.zoo.sequence import DIMENSIONS, LENGTH

_EMPTY = -1e4
"""Added to the attention of a place that nothing fills."""


def forward(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    """Logit of "this item comes next", (n,)."""
    place = as_index(x["recent"])  # (n, LENGTH), row + 1, 0 empty
    filled = as_float(place > 0)
    seen = p["item_embedding"][(place - 1).clip(0, None)]  # (n, LENGTH, d)
    seen = (seen * DIMENSIONS**0.5 + p["place_embedding"]) * filled[:, :, None]
    newest = seen[:, LENGTH - 1, :]  # (n, d)
    # One query needs no key or value of its own for each place: (s K) q = s (K q), and sums commute with V.
    query = _normalised(newest, p["query_scale"]) @ p["query_weight"] @ p["key_weight"].T
    weight = (seen @ query[:, :, None])[:, :, 0] * DIMENSIONS**-0.5  # (n, LENGTH)
    weight = softmax(weight + (1.0 - filled) * _EMPTY)
    state = newest + (weight[:, None, :] @ seen)[:, 0, :] @ p["value_weight"]
    inner = (_normalised(state, p["inner_scale"]) @ p["inner_weight"] + p["inner_bias"]).clip(0, None)
    state = _normalised(state + inner @ p["outer_weight"], p["outer_scale"])
    item = x["item"]
    return (state * p["item_embedding"][item]).sum(-1) + p["item_bias"][item] + p["bias"]


def _normalised(x: Any, scale: Any) -> Any:
    """Layer normalisation over the last axis without an offset; (n, d) → (n, d)."""
    centred = x - x.mean(-1)[:, None]
    return centred * scale * (((centred * centred).mean(-1) + 1e-5) ** -0.5)[:, None]


ARCHITECTURE = Architecture(
    name="sequence-attention",
    task="rank",
    parameters=(
        Tensor(name="item_embedding", shape=("items", DIMENSIONS), share="shared", decay=1e-5),
        Tensor(name="item_bias", shape=("items",), share="shared", decay=1e-5),
        Tensor(name="place_embedding", shape=(LENGTH, DIMENSIONS), share="shared"),
        *(
            Tensor(name=f"{name}_weight", shape=(DIMENSIONS, DIMENSIONS), share="shared")
            for name in ("query", "key", "value", "inner", "outer")
        ),
        *(Tensor(name=f"{name}_scale", shape=(DIMENSIONS,), share="shared") for name in ("query", "inner", "outer")),
        Tensor(name="inner_bias", shape=(DIMENSIONS,), share="shared"),
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
