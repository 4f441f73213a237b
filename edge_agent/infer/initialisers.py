"""A bundle's weights as the defaults of its graph's inputs, so that a call passes only what differs.

A bundle's graph takes every weight as an input (ADR 0005). ONNX lets an input have an initialiser of the same name:
it is used when the caller passes nothing. Protobuf merges what is appended to a message, so the initialisers go
behind the graph as they are, without a parser. The arithmetic is that of the bare graph, bit for bit (ADR 0010).
Field numbers: onnx/onnx.proto.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from edge_agent.infer.model import Array

_GRAPH, _INITIALISER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
_TYPES = {"<f4": 1, "|i1": 3, "<i8": 7, "<f2": 10}


def with_defaults(graph: bytes, weights: Mapping[str, Array]) -> bytes:
    """The ONNX model with a default for each of these inputs.

    Args:
        graph: an ONNX model whose graph has inputs of these names.
        weights: float32, float16, int64 or int8.
    """
    named = b"".join(_field(_INITIALISER, _tensor(name, array)) for name, array in weights.items())
    return graph + _field(_GRAPH, named)


def _tensor(name: str, array: Array) -> bytes:
    raw = np.ascontiguousarray(array)
    dims = b"".join(_varint(_DIMS << 3) + _varint(side) for side in array.shape)
    kind = _varint(_DATA_TYPE << 3) + _varint(_TYPES[raw.dtype.str])
    return dims + kind + _field(_NAME, name.encode()) + _field(_RAW_DATA, raw.tobytes())


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    return bytes(_septets(value))


def _septets(value: int) -> Iterator[int]:
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
