"""From an architecture to the graphs that devices run. Needs the `[build]` extra; devices never import this.

Recipe: one step of an optimiser is written with `torch.func.grad_and_value`, traced with `make_fx` under
torch's core ATen decompositions with symbolic sizes, and exported by `torch.onnx.export(dynamo=True)`. The
result is a plain graph of standard operators whose catalogue and batch sizes stay open.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from models.architecture import Architecture
from models.errors import BuildUnavailable, GraphForbidden
from models.onnx_graph import IR_VERSION_MAX, read_graph
from models.optimiser import BETA_MEAN, BETA_SQUARE, EPSILON, KINDS, MOMENTUM

OPSET = 18
# Sizes used while tracing: two different primes above 1, so that no axis is taken for another or for a
# constant.
_TRACE_AXIS, _TRACE_BATCH = 11, 7

_MARK = "edgeward:"

_Function = Callable[..., Any]


def export_onnx(architecture: Architecture) -> dict[str, bytes]:
    """predict.onnx and train_step.onnx.

    Raises:
        BuildUnavailable: torch, onnx or onnxscript is not installed.
        GraphForbidden: the exporter used something that devices do not run.
    """
    names = [tensor.name for tensor in architecture.parameters]
    inputs = [rows.name for rows in architecture.inputs]
    state = [f"{tensor.name}.{kind}" for tensor in architecture.trained() for kind in KINDS[architecture.optimiser]]
    train = [f"{name}.next" for name in names + state] + ["loss"]
    feeds = [*names, *state, *inputs, "label", "lr"]
    return {
        "predict.onnx": _to_onnx(architecture, _predict(architecture), names + inputs, ["score"]),
        "train_step.onnx": _to_onnx(architecture, _train_step(architecture), feeds, train),
    }


def write_graphs(architecture: Architecture, folder: Path) -> list[Path]:
    """Export everything the architecture asks for into `folder`; returns the files written."""
    files = export_onnx(architecture)
    if architecture.tflite:
        from models.export_tflite import export_tflite

        files["model.tflite"] = export_tflite(architecture)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def _torch() -> Any:
    try:
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise BuildUnavailable(
            f"exporting graphs needs {error.name}",
            hint="pip install 'edgeward[build]' (building bundles does not need it)",
        ) from error
    return torch


def _predict(architecture: Architecture) -> _Function:
    torch, count = _torch(), len(architecture.parameters)

    def predict(*values: Any) -> Any:
        weights, inputs = _named(architecture, values[:count], values[count:])
        logit = architecture.forward(weights, inputs)
        return (torch.sigmoid(logit) if architecture.task == "probability" else logit,)

    return predict


def _train_step(architecture: Architecture) -> _Function:
    torch, count = _torch(), len(architecture.parameters)
    loss_of = _loss(architecture)
    trained, kinds = architecture.trained(), KINDS[architecture.optimiser]
    rest = count + len(trained) * len(kinds)
    optimise = {"sgd": _gradient_descent, "momentum": _momentum, "adam": _adam}[architecture.optimiser]

    def step(*values: Any) -> Any:
        *rows, label, lr = values[rest:]
        weights, inputs = _named(architecture, values[:count], rows)

        def loss(some: dict[str, Any]) -> Any:
            return loss_of(architecture.forward({**weights, **some}, inputs), label)

        gradient, value = torch.func.grad_and_value(loss)({tensor.name: weights[tensor.name] for tensor in trained})
        after = {name: weight.clone() for name, weight in weights.items()}
        remembered: list[Any] = []
        for index, tensor in enumerate(trained):
            weight, slope = weights[tensor.name], gradient[tensor.name]
            if tensor.decay:
                slope = slope + tensor.decay * weight
            start = count + index * len(kinds)
            move, state = optimise(slope, values[start : start + len(kinds)])
            after[tensor.name] = weight - lr * tensor.step * move
            remembered += state
        return (*after.values(), *remembered, value)

    return step


def _loss(architecture: Architecture) -> _Function:
    torch = _torch()
    losses: dict[str, _Function] = {
        # mean(softplus(z) - y z) is the log loss of sigmoid(z), stable for any z.
        "bce": lambda logit, label: (torch.nn.functional.softplus(logit) - label * logit).mean(),
        "mse": lambda logit, label: ((logit - label) ** 2).mean(),
        "distance": lambda score, label: -(label * score).mean(),
    }
    return losses[architecture.loss]


def _gradient_descent(slope: Any, _state: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    return slope, ()


def _momentum(slope: Any, state: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    """Polyak's heavy ball, in the form of Sutskever et al. 2013, "On the importance of initialization and momentum"."""
    velocity = MOMENTUM * state[0] + slope
    return velocity, (velocity,)


def _adam(slope: Any, state: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    """Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1."""
    mean = BETA_MEAN * state[0] + (1.0 - BETA_MEAN) * slope
    square = BETA_SQUARE * state[1] + (1.0 - BETA_SQUARE) * slope * slope
    steps = state[2] + 1.0
    unbiased_mean = mean / (1.0 - BETA_MEAN**steps)
    unbiased_square = square / (1.0 - BETA_SQUARE**steps)
    return unbiased_mean / (_torch().sqrt(unbiased_square) + EPSILON), (mean, square, steps)


def _named(
    architecture: Architecture, weights: Sequence[Any], rows: Sequence[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        dict(zip((tensor.name for tensor in architecture.parameters), weights, strict=True)),
        dict(zip((one.name for one in architecture.inputs), rows, strict=True)),
    )


def _to_onnx(architecture: Architecture, function: _Function, inputs: list[str], outputs: list[str]) -> bytes:
    torch = _torch()
    from torch._decomp import core_aten_decompositions
    from torch.fx.experimental.proxy_tensor import make_fx

    example, dynamic = _example(architecture, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table: Any = core_aten_decompositions()
        traced = make_fx(function, decomposition_table=table, tracing_mode="symbolic")(*example)
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _as_module(traced),
            tuple(example),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            # Marked, so that a parameter `mean` is not mistaken for what torch calls the result of its own mean.
            input_names=[_MARK + name for name in inputs],
            output_names=[_MARK + name for name in outputs],
            dynamic_shapes=(tuple(dynamic),),
        )
    return _plain(program.model_proto, architecture, inputs)


def _as_module(traced: Any) -> Any:
    torch = _torch()

    class Step(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def forward(self, *values: Any) -> Any:
            return traced(*values)

    return Step()


def _example(architecture: Architecture, inputs: list[str]) -> tuple[list[Any], list[dict[int, Any] | None]]:
    """Tensors to trace with, and for each the axes that stay open."""
    torch = _torch()
    torch.manual_seed(0)
    axes = {name: torch.export.Dim(name, min=1) for name in architecture.axes()}
    sizes = {name: _TRACE_AXIS + 2 * index for index, name in enumerate(axes)}
    batch = torch.export.Dim("batch", min=1)
    example: list[Any] = []
    dynamic: list[dict[int, Any] | None] = []

    def add(shape: Sequence[int | str]) -> None:
        example.append(torch.rand([sizes[side] if isinstance(side, str) else side for side in shape]))
        dynamic.append({i: axes[side] for i, side in enumerate(shape) if isinstance(side, str)} or None)

    for tensor in architecture.parameters:
        add(tensor.shape)
    for tensor in architecture.trained() if "label" in inputs else ():
        for kind in KINDS[architecture.optimiser]:
            add(() if kind == "steps" else tensor.shape)
    for rows in architecture.inputs:
        add(() if rows.columns is None else (rows.columns,))
        one = example.pop()
        example.append(
            torch.zeros(_TRACE_BATCH, dtype=torch.int64) if rows.columns is None else one.repeat(_TRACE_BATCH, 1)
        )
        dynamic.append({0: batch, **{i + 1: axis for i, axis in (dynamic.pop() or {}).items()}})
    if "label" in inputs:
        example += [torch.rand(_TRACE_BATCH), torch.tensor(0.5)]
        dynamic += [{0: batch}, None]
    return example, dynamic


def _plain(model: Any, architecture: Architecture, inputs: Sequence[str]) -> bytes:
    """The model without names of source files, stack traces or versions, refused if devices cannot run it."""
    model.ir_version = min(model.ir_version, IR_VERSION_MAX)
    model.producer_name, model.producer_version, model.doc_string = "edgeward", "", ""
    for part in (model, model.graph):
        del part.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.doc_string = ""
    for index, node in enumerate(model.graph.node):
        node.name, node.doc_string = f"{node.op_type}_{index}", ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    _rename(model.graph)
    if len(architecture.inputs) > 1 and "label" not in inputs:
        _free_rows(model.graph, [rows.name for rows in architecture.inputs if rows.columns is not None])
    raw = bytes(model.SerializeToString(deterministic=True))
    faults = read_graph(raw).faults
    if faults:
        raise GraphForbidden("; ".join(faults), hint="write the forward function with simpler operators")
    return raw


def _free_rows(graph: Any, names: Sequence[str]) -> None:
    """Let each input of features have one row for all candidates instead of one a candidate: the graph broadcasts.

    onnxruntime lays out memory by the names of axes, so an axis that may differ needs its own name.
    """
    for value in graph.input:
        if value.name in names:
            value.type.tensor_type.shape.dim[0].dim_param = f"{value.name}_rows"


def _rename(graph: Any) -> None:
    """Inputs and outputs to their own names, everything between them to numbers."""
    names: dict[str, str] = {"": ""}

    def named(old: str) -> str:
        return names.setdefault(old, old.removeprefix(_MARK) if old.startswith(_MARK) else f"_{len(names)}")

    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = named(value.name)
    for node in graph.node:
        node.input[:] = [named(old) for old in node.input]
        node.output[:] = [named(old) for old in node.output]
