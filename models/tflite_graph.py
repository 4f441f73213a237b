"""What a TFLite file would do, read before any runtime touches it.

Only the tables that the checks need are read, with the flatbuffers package (which onnxruntime depends on anyway), so
a board with tflite-runtime, which brings no schema along, checks as much as one with LiteRT. Slots and numbers:
tensorflow/lite/schema/schema.fbs, version 3.
"""

from collections.abc import Iterator
from typing import Any

import flatbuffers.number_types as numbers
from flatbuffers.table import Table

from models.limits import GRAPH_NODES_MAX

IDENTIFIER = b"TFL3"
VERSION = 3

# Builtin, float32 or integer, no custom and no flex operators: runs on every LiteRT build.
OPERATORS = {
    "ADD": 0, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "DEQUANTIZE": 6, "FLOOR": 8,
    "FULLY_CONNECTED": 9, "LOGISTIC": 14, "MAX_POOL_2D": 17, "MUL": 18, "RELU": 19, "RELU6": 21, "RESHAPE": 22,
    "SOFTMAX": 25, "TANH": 28, "PAD": 34, "GATHER": 36, "TRANSPOSE": 39, "MEAN": 40, "SUB": 41, "DIV": 42,
    "SQUEEZE": 43, "STRIDED_SLICE": 45, "EXP": 47, "TOPK_V2": 48, "SPLIT": 49, "LOG_SOFTMAX": 50, "CAST": 53,
    "MAXIMUM": 55, "ARG_MAX": 56, "MINIMUM": 57, "LESS": 58, "NEG": 59, "GREATER": 61, "GREATER_EQUAL": 62,
    "LESS_EQUAL": 63, "SELECT": 64, "SLICE": 65, "SIN": 66, "TILE": 69, "EXPAND_DIMS": 70, "EQUAL": 71,
    "NOT_EQUAL": 72, "LOG": 73, "SUM": 74, "SQRT": 75, "RSQRT": 76, "SHAPE": 77, "POW": 78, "REDUCE_MAX": 82,
    "PACK": 83, "LOGICAL_OR": 84, "LOGICAL_AND": 86, "LOGICAL_NOT": 87, "UNPACK": 88, "SQUARE": 92, "FILL": 94,
    "RANGE": 96, "LEAKY_RELU": 98, "SQUARED_DIFFERENCE": 99, "ABS": 101, "GATHER_ND": 107, "COS": 108, "WHERE": 109,
    "QUANTIZE": 114, "HARD_SWISH": 117, "SCATTER_ND": 122, "SELECT_V2": 123, "BATCH_MATMUL": 126, "CUMSUM": 128,
}  # fmt: skip
_NAMES = {number: name for name, number in OPERATORS.items()}

# Slot of a field in its table's vtable, bytes.
_MODEL = {"version": 4, "operator_codes": 6, "subgraphs": 8, "buffers": 12, "external_groups": 20, "external": 22}
_CODE = {"deprecated": 4, "builtin": 10}
_SUBGRAPH_OPERATORS = 10
_BUFFER = {"offset": 6, "size": 8}


def faults(raw: bytes) -> list[str]:
    """Every reason to refuse a TFLite model, one sentence each; empty: devices run it.

    Raises:
        ValueError, IndexError, TypeError, struct.error: not a TFLite model at all.
    """
    if raw[4:8] != IDENTIFIER:
        raise ValueError("the file does not start as a TFLite model does")
    model = Table(raw, numbers.UOffsetTFlags.py_type(_u32(raw, 0)))
    return list(dict.fromkeys(_faults(model)))


def _faults(model: Table) -> Iterator[str]:
    version = model.GetSlot(_MODEL["version"], 0, numbers.Uint32Flags)
    if version != VERSION:
        yield f"schema version {version}, devices read {VERSION}"
    for code in _tables(model, _MODEL["operator_codes"]):
        # A number below 127 stands in the old field too; the larger of the two counts.
        number = max(
            code.GetSlot(_CODE["deprecated"], 0, numbers.Int8Flags),
            code.GetSlot(_CODE["builtin"], 0, numbers.Int32Flags),
        )
        if number not in _NAMES:
            yield f"operator {number}, which is not on the list of allowed operators"
    nodes = sum(_length(graph, _SUBGRAPH_OPERATORS) for graph in _tables(model, _MODEL["subgraphs"]))
    if not 1 <= nodes <= GRAPH_NODES_MAX:
        yield f"{nodes} nodes, devices run 1 to {GRAPH_NODES_MAX}"
    outside = any(
        buffer.GetSlot(_BUFFER["offset"], 0, numbers.Uint64Flags)
        or buffer.GetSlot(_BUFFER["size"], 0, numbers.Uint64Flags)
        for buffer in _tables(model, _MODEL["buffers"])
    )
    if outside or _length(model, _MODEL["external_groups"]) or _length(model, _MODEL["external"]):
        yield "external data: a tensor that lies outside the model"


def _tables(table: Table, slot: int) -> Iterator[Table]:
    """The tables of a vector of tables."""
    at = table.Offset(slot)
    if not at:
        return
    start = table.Vector(at)
    for number in range(table.VectorLen(at)):
        yield Table(table.Bytes, table.Indirect(start + 4 * number))


def _length(table: Table, slot: int) -> int:
    at = table.Offset(slot)
    return int(table.VectorLen(at)) if at else 0


def _u32(raw: bytes, at: int) -> Any:
    return int.from_bytes(raw[at : at + 4], "little")
