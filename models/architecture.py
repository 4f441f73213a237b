"""A model as arithmetic: parameters, inputs and one forward function over arrays.

`forward` uses only what numpy arrays, torch and tensorflow tensors have in common (operators, indexing, `@`, `.clip`,
`.T`) and the functions of `models.elementwise`, so one definition is exported to ONNX and TFLite and is its own
reference in the tests.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from models.optimiser import Optimiser
from models.spec import Loss

Forward = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


class Tensor(Struct, frozen=True, kw_only=True):
    """One parameter of the graph.

    Attributes:
        shape: a name instead of a number is an axis that each bundle sizes for itself.
        share: shared parameters are averaged by rounds, personal ones stay on the device.
        init: what a new subject starts from.
        step: factor on `lr` for this parameter; 0 keeps it as it is.
        decay: L2 weight decay, per step, before `lr` and `step`.
    """

    name: str
    shape: tuple[int | str, ...]
    share: Literal["shared", "personal"]
    init: Literal["zeros", "file"] = "file"
    step: float = 1.0
    decay: float = 0.0


class Rows(Struct, frozen=True, kw_only=True):
    """One input of the graph: n row numbers (int64), or n rows of `columns` numbers (float32).

    `recent`: each number is a row of the catalogue plus 1, or 0; see `models.spec.ItemSequence`.
    """

    name: str
    dtype: Literal["int64", "float32"]
    columns: int | str | None = None
    recent: bool = False


class Architecture(Struct, frozen=True, kw_only=True):
    """What `edge-models export` turns into graphs.

    Attributes:
        forward: (parameters, inputs) → logit (n,).
        task: `probability` puts a sigmoid behind the logit in predict.onnx.
        loss: bce: log loss of the label. mse: squared error. distance: the mean of label times minus the score.
        optimiser: of train_step.onnx; its state goes in and out beside the weights.
        tflite: whether model.tflite is made too.
    """

    name: str
    task: Literal["rank", "probability"]
    parameters: tuple[Tensor, ...]
    inputs: tuple[Rows, ...]
    forward: Forward
    loss: Loss = "bce"
    optimiser: Optimiser = "sgd"
    tflite: bool = False

    def trained(self) -> tuple[Tensor, ...]:
        """The parameters that a step changes."""
        return tuple(tensor for tensor in self.parameters if tensor.step > 0)

    def axes(self) -> tuple[str, ...]:
        """The named axes of the parameters, each once, in order."""
        names = (side for tensor in self.parameters for side in tensor.shape if isinstance(side, str))
        return tuple(dict.fromkeys(names))
