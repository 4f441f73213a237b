"""What an ONNX file would do, read before any runtime touches it.

Only the fields that the checks need are declared; protobuf (which onnxruntime depends on anyway) parses, so a
device needs no `onnx` package. Field numbers: onnx/onnx.proto, IR version 10.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from google.protobuf.message import DecodeError
from msgspec import Struct

from models.errors import GraphForbidden
from models.limits import GRAPH_NODES_MAX

IR_VERSION_MAX = 10
OPSET_MIN, OPSET_MAX = 13, 21
_STANDARD = ("", "ai.onnx")

# onnxruntime's CPU provider runs all of these at opset 13 to 21; no loops, no randomness, no strings.
OPERATORS = frozenset(
    """
    Abs Add And ArgMax ArgMin BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv Cos
    CumSum Div Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LSTM
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mod Mul Neg Not
    OneHot Or Pad Pow Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Shape Sigmoid Sign Sin
    Size Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where
    Xor
    """.split()  # noqa: SIM905
)

# message → field → (number, type, repeated); a type in quotes is another message.
_FIELDS: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Model": {
        "ir_version": (1, "int64", False),
        "graph": (7, "Graph", False),
        "opset_import": (8, "Opset", True),
        "training_info": (20, "bytes", True),
        "functions": (25, "bytes", True),
    },
    "Opset": {"domain": (1, "string", False), "version": (2, "int64", False)},
    "Graph": {
        "node": (1, "Node", True),
        "initializer": (5, "Tensor", True),
        "sparse_initializer": (15, "bytes", True),
    },
    "Node": {
        "op_type": (4, "string", False),
        "attribute": (5, "Attribute", True),
        "domain": (7, "string", False),
    },
    "Attribute": {
        "t": (5, "Tensor", False),
        "g": (6, "bytes", False),
        "tensors": (10, "Tensor", True),
        "graphs": (11, "bytes", True),
        "sparse_tensor": (22, "bytes", False),
        "sparse_tensors": (23, "bytes", True),
    },
    "Tensor": {"external_data": (13, "bytes", True), "data_location": (14, "int32", False)},
}


class GraphFacts(Struct, frozen=True, kw_only=True):
    """What the checks found in a graph."""

    ir_version: int
    opset: int
    operators: tuple[str, ...]
    faults: tuple[str, ...]
    """One sentence each; empty: devices run it."""


def read_graph(raw: bytes) -> GraphFacts:
    """The facts of an ONNX model, and every reason to refuse it.

    Raises:
        GraphForbidden: not an ONNX model at all.
    """
    try:
        model = _message("Model").FromString(raw)
    except DecodeError as error:
        raise GraphForbidden(f"not an ONNX model: {error}", hint="export the graph again") from error
    opsets = [opset.version for opset in model.opset_import if opset.domain in _STANDARD]
    nodes = list(model.graph.node[: GRAPH_NODES_MAX + 1])
    return GraphFacts(
        ir_version=model.ir_version,
        opset=max(opsets, default=0),
        operators=tuple(sorted({_operator(node) for node in nodes})),
        faults=tuple(dict.fromkeys(_faults(model, opsets, nodes))),
    )


def _faults(model: Any, opsets: list[int], nodes: list[Any]) -> Iterator[str]:
    if not 1 <= model.ir_version <= IR_VERSION_MAX:
        yield f"IR version {model.ir_version}, devices read up to {IR_VERSION_MAX}"
    for version in opsets or [0]:
        if not OPSET_MIN <= version <= OPSET_MAX:
            yield f"opset {version}, devices run {OPSET_MIN} to {OPSET_MAX}"
    if not 1 <= len(nodes) <= GRAPH_NODES_MAX:
        yield f"{len(nodes)} nodes, devices run 1 to {GRAPH_NODES_MAX}"
    if model.functions or model.training_info:
        yield "local functions or training_info, which are not allowed"
    if model.graph.sparse_initializer:
        yield "sparse initializers, which are not allowed"
    for tensor in model.graph.initializer:
        yield from _tensor_faults(tensor)
    for node in nodes:
        yield from _node_faults(node)


def _node_faults(node: Any) -> Iterator[str]:
    if _operator(node) not in OPERATORS:
        yield f"operator {_operator(node)}, which is not on the list of allowed operators"
    for attribute in node.attribute:
        if attribute.g or attribute.graphs or attribute.sparse_tensor or attribute.sparse_tensors:
            yield f"operator {_operator(node)} with a graph or sparse tensor inside"
        for tensor in (attribute.t, *attribute.tensors):
            yield from _tensor_faults(tensor)


def _tensor_faults(tensor: Any) -> Iterator[str]:
    if tensor.external_data or tensor.data_location != 0:
        yield "external data: a tensor that would be read from another file"


def _operator(node: Any) -> str:
    return node.op_type if node.domain in _STANDARD else f"{node.domain}::{node.op_type}"


@cache
def _message(name: str) -> Any:
    """The protobuf class of one of `_FIELDS`' messages."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="edgeward_onnx.proto", package="edgeward_onnx")
    for message, fields in _FIELDS.items():
        declared = file.message_type.add(name=message)
        for field, (number, kind, repeated) in fields.items():
            entry = declared.field.add(name=field, number=number)
            entry.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _FIELDS:
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, f".edgeward_onnx.{kind}"
            else:
                entry.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"edgeward_onnx.{name}"))
