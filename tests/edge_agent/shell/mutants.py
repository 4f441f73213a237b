"""Damaged models, drawn from a seed: bytes changed blindly, and files that are well-formed and mean harm.

A mutant is a whole bundle whose hashes are right, so that nothing but the checks of the graph and the runtime itself
stands between it and the device.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from models.bundle import write_bundle
from tests.models.sample import parts

Fields = list[tuple[int, Any]]
"""A protobuf message: (number · 8 + wire type, value), in order; bytes for wire type 2, a number for 0."""


def mutants(kind: str, model: str, count: int, seed: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """Bundles of one zoo model with a changed graph, and what was done to each.

    Args:
        kind: `onnx` (predict.onnx and train_step.onnx in turn) or `tflite`.
    """
    spec, files = parts(model)
    names = ["predict.onnx", "train_step.onnx"] if kind == "onnx" else ["model.tflite"]
    with_sense = onnx_with_sense if kind == "onnx" else tflite_with_sense
    for number in range(count):
        dice = random.Random(f"{kind} {model} {seed} {number}")  # noqa: S311 - repeatable, nothing secret
        name = names[number % len(names)]
        how, raw = (blindly if number % 3 == 0 else with_sense)(dice, files[name])
        place = folder / f"{kind}-{model}-{seed}-{number}"
        place.mkdir()
        yield f"{number}: {name} {how}", write_bundle(place, spec, {**files, name: raw})


def blindly(dice: random.Random, raw: bytes) -> tuple[str, bytes]:
    """Bytes flipped, cut out, repeated or overwritten anywhere."""
    changed = bytearray(raw)
    how = dice.choice(["flip", "overwrite", "cut", "repeat", "truncate", "ones"])
    for _ in range(dice.choice([1, 1, 2, 8])):
        at = dice.randrange(max(1, len(changed)))
        end = min(len(changed), at + dice.choice([1, 2, 4, 16]))
        match how:
            case "flip":
                changed[at] ^= 1 << dice.randrange(8)
            case "overwrite":
                changed[at:end] = dice.randbytes(end - at)
            case "cut":
                del changed[at:end]
            case "repeat":
                changed[at:at] = changed[at:end] * dice.choice([1, 2, 50])
            case "truncate":
                del changed[at:]
            case _:
                changed[at:end] = b"\xff" * (end - at)
    return f"{how} bytes", bytes(changed)


# ── ONNX, as protobuf ───────────────────────────────────────────────────────────────────────────────────────────────


def onnx_with_sense(dice: random.Random, raw: bytes) -> tuple[str, bytes]:
    """A graph with other operators, edges, attributes, shapes, or with nodes that ask for too much."""
    model = fields_of(raw)
    at = next(n for n, (key, _) in enumerate(model) if key >> 3 == 7)
    graph = fields_of(model[at][1])
    how = dice.choice(list(_ONNX))
    _ONNX[how](dice, graph)
    model[at] = (model[at][0], message(graph))
    return how, message(model)


def fields_of(raw: bytes) -> Fields:
    """The fields of a message."""
    found: Fields = []
    at = 0
    while at < len(raw):
        key, at = _read_varint(raw, at)
        if key & 7 == 2:
            size, at = _read_varint(raw, at)
            value: Any = raw[at : at + size]
            at += size
        elif key & 7 == 0:
            value, at = _read_varint(raw, at)
        else:
            size = {1: 8, 5: 4}[key & 7]
            value = raw[at : at + size]
            at += size
        found.append((key, value))
    return found


def message(fields: Fields) -> bytes:
    """The bytes of a message."""
    out = bytearray()
    for key, value in fields:
        out += _varint(key)
        if key & 7 == 0:
            out += _varint(value)
        else:
            out += (_varint(len(value)) if key & 7 == 2 else b"") + value
    return bytes(out)


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _node(op: str, inputs: list[bytes], outputs: list[bytes], *attributes: bytes) -> tuple[int, bytes]:
    fields: Fields = [(1 << 3 | 2, name) for name in inputs]
    fields += [(2 << 3 | 2, name) for name in outputs]
    fields += [(4 << 3 | 2, op.encode()), *((5 << 3 | 2, value) for value in attributes)]
    return (1 << 3 | 2, message(fields))


def _numbers(name: bytes, values: list[int]) -> tuple[int, bytes]:
    """An int64 initialiser."""
    raw = b"".join(value.to_bytes(8, "little", signed=True) for value in values)
    return (5 << 3 | 2, message([(1 << 3, len(values)), (2 << 3, 7), (8 << 3 | 2, name), (9 << 3 | 2, raw)]))


def _nodes(graph: Fields) -> list[int]:
    return [n for n, (key, _) in enumerate(graph) if key == (1 << 3 | 2)]


def _in_a_node(dice: random.Random, graph: Fields, change: Callable[[Fields], None]) -> None:
    at = dice.choice(_nodes(graph))
    node = fields_of(graph[at][1])
    change(node)
    graph[at] = (graph[at][0], message(node))


def _other_operator(dice: random.Random, graph: Fields) -> None:
    names = ["MatMul", "Gather", "Reshape", "Conv", "Range", "Tile", "TopK", "Concat", "Slice", "GRU", "Loop", "Split"]

    def change(node: Fields) -> None:
        for n, (key, _) in enumerate(node):
            if key >> 3 == 4:
                node[n] = (key, dice.choice(names).encode())

    _in_a_node(dice, graph, change)


def _other_edge(dice: random.Random, graph: Fields) -> None:
    names = [value for at in _nodes(graph) for key, value in fields_of(graph[at][1]) if key >> 3 in {1, 2}]

    def change(node: Fields) -> None:
        ends = [n for n, (key, _) in enumerate(node) if key >> 3 in {1, 2}]
        n = dice.choice(ends)
        node[n] = (node[n][0], dice.choice([*names, b"", b"nowhere"]))

    _in_a_node(dice, graph, change)


def _other_number(dice: random.Random, graph: Fields) -> None:
    """A varint anywhere below a node, a shape or an initialiser: axes, dims, dtypes."""
    extremes = [0, 1, 2, 2**31 - 1, 2**31, 2**62, -1, -(2**31), 16, 99]

    def dive(fields: Fields, depth: int) -> bool:
        for n in dice.sample(range(len(fields)), len(fields)):
            key, value = fields[n]
            if key & 7 == 0:
                fields[n] = (key, dice.choice(extremes))
                return True
            if key & 7 == 2 and depth and value:
                try:
                    inner = fields_of(value)
                    whole = message(inner) == value
                except (IndexError, KeyError):
                    continue
                if whole and dive(inner, depth - 1):
                    fields[n] = (key, message(inner))
                    return True
        return False

    dive(graph, 6)


def _drop_or_repeat(dice: random.Random, graph: Fields) -> None:
    at = dice.randrange(len(graph))
    if dice.random() < 0.5:
        del graph[at]
    else:
        graph.insert(dice.randrange(len(graph)), graph[at])


def _huge(dice: random.Random, graph: Fields) -> None:
    fill_memory(graph, dice.choice([2**20, 2**28, 2**31 - 1, 2**40]), dice.choice([1, 64]))


def fill_memory(graph: Fields, side: int, columns: int) -> None:
    """A node that fills memory, and joins the score so that nobody optimises it away."""
    graph.append(_numbers(b"huge.shape", [side, columns]))
    graph.insert(0, _node("ConstantOfShape", [b"huge.shape"], [b"huge"]))
    graph.insert(1, _node("ReduceSum", [b"huge"], [b"huge.sum"]))
    _join_score(graph, b"huge.sum")


def _slow(dice: random.Random, graph: Fields) -> None:
    inputs = [fields_of(value)[0][1] for key, value in graph if key >> 3 == 11]
    start = b"user_bias" if b"user_bias" in inputs and dice.random() < 0.5 else b""
    take_time(graph, dice.choice([2**18, 2**22]), dice.choice([50, 500]), start)


def take_time(graph: Fields, side: int, turns: int, start: bytes) -> None:
    """Work without much memory: the sine of a long row, many times.

    Args:
        start: an input of one number that the row is made of; empty: zeros, which the runtime computes at load.
    """
    graph.append(_numbers(b"slow.shape", [side]))
    first = _node("Expand", [start, b"slow.shape"], [b"slow.0"])
    graph.insert(0, first if start else _node("ConstantOfShape", [b"slow.shape"], [b"slow.0"]))
    for n in range(turns):
        graph.insert(1 + n, _node("Sin", [f"slow.{n}".encode()], [f"slow.{n + 1}".encode()]))
    graph.insert(1 + turns, _node("ReduceSum", [f"slow.{turns}".encode()], [b"slow.sum"]))
    graph.insert(2 + turns, _node("Sub", [b"slow.sum", b"slow.sum"], [b"slow.zero"]))  # the golden scores hold
    _join_score(graph, b"slow.zero")


def hang_on(graph: Fields, inputs: bytes, above: int, side: int, turns: int) -> None:
    """Work without end for an input that no probe and no golden output has, and next to none for others.

    Args:
        inputs: a float input; a value in it above `above` sets it off.
        side: numbers in the row then; one otherwise.
    """
    for name, values in ((b"hang.above", [above]), (b"hang.side", [side]), (b"hang.one", [1])):
        graph.append(_numbers(name, values))
    to_int64 = message([(1 << 3 | 2, b"to"), (3 << 3, 7), (20 << 3, 2)])
    nodes = [
        _node("ReduceMax", [inputs], [b"hang.max"]),
        _node("Cast", [b"hang.max"], [b"hang.whole"], to_int64),
        _node("Greater", [b"hang.whole", b"hang.above"], [b"hang.is"]),
        _node("Cast", [b"hang.is"], [b"hang.times"], to_int64),
        _node("Mul", [b"hang.times", b"hang.side"], [b"hang.more"]),
        _node("Add", [b"hang.more", b"hang.one"], [b"hang.length"]),
        _node("Reshape", [b"hang.length", b"hang.one"], [b"hang.shape"]),
        _node("Expand", [b"hang.max", b"hang.shape"], [b"hang.wide"]),
        _node("Reshape", [b"hang.wide", b"hang.flat"], [b"hang.0"]),
        *(_node("Sin", [f"hang.{n}".encode()], [f"hang.{n + 1}".encode()]) for n in range(turns)),
        _node("ReduceSum", [f"hang.{turns}".encode()], [b"hang.sum"]),
        _node("Sub", [b"hang.sum", b"hang.sum"], [b"hang.zero"]),
    ]
    graph.append(_numbers(b"hang.flat", [-1]))
    graph[:0] = nodes
    _join_score(graph, b"hang.zero")


def _join_score(graph: Fields, extra: bytes) -> None:
    for at in _nodes(graph):
        node = fields_of(graph[at][1])
        if any(key >> 3 == 2 and value == b"score" for key, value in node):
            node = [(key, b"score.bare" if key >> 3 == 2 else value) for key, value in node]
            graph[at] = (graph[at][0], message(node))
            graph.insert(at + 1, _node("Add", [b"score.bare", extra], [b"score.2d"]))
            graph.append(_numbers(b"flat", [-1]))
            graph.insert(at + 2, _node("Reshape", [b"score.2d", b"flat"], [b"score"]))
            return


def _deep(dice: random.Random, graph: Fields) -> None:
    """An attribute within an attribute within …: what a recursive reader dies of."""
    inner = b""
    for _ in range(dice.choice([20, 90, 101, 5_000])):
        inner = message([(6 << 3 | 2, message([(1 << 3 | 2, message([(5 << 3 | 2, inner)]))]))])
    _in_a_node(dice, graph, lambda node: node.append((5 << 3 | 2, inner)))


def _lying_tensor(dice: random.Random, graph: Fields) -> None:
    """An initialiser whose shape does not fit its bytes, under the name of an input."""
    inputs = [fields_of(value)[0][1] for key, value in graph if key >> 3 == 11]
    dims = [(1 << 3, dice.choice([0, 1, 7, 2**33, -1])) for _ in range(dice.choice([0, 1, 2, 9]))]
    data = dice.randbytes(dice.choice([0, 3, 64]))
    tensor = [*dims, (2 << 3, dice.choice([0, 1, 7, 8, 16, 99])), (8 << 3 | 2, dice.choice(inputs)), (9 << 3 | 2, data)]
    graph.append((5 << 3 | 2, message(tensor)))


_ONNX: dict[str, Callable[[random.Random, Fields], None]] = {
    "other operator": _other_operator,
    "other edge": _other_edge,
    "other number": _other_number,
    "dropped or repeated": _drop_or_repeat,
    "huge": _huge,
    "slow": _slow,
    "deep": _deep,
    "lying tensor": _lying_tensor,
}


# ── TFLite, through its schema ──────────────────────────────────────────────────────────────────────────────────────


def tflite_with_sense(dice: random.Random, raw: bytes) -> tuple[str, bytes]:
    """A model with other operators, tensors, shapes, types, buffers or signatures; again a valid flatbuffer."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(raw, 0))
    how = dice.choice(list(_TFLITE))
    _TFLITE[how](dice, model)
    builder = flatbuffers.Builder(len(raw))
    builder.Finish(model.Pack(builder), b"TFL3")
    return how, bytes(builder.Output())


def _extreme(dice: random.Random) -> int:
    return dice.choice([-2, -1, 0, 1, 3, 99, 2**20, 2**31 - 1, -(2**31)])


def _operator_code(dice: random.Random, model: Any) -> None:
    code = dice.choice(model.operatorCodes)
    code.builtinCode = dice.choice([*range(130), 150, 206])
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = dice.choice([1, 2, 9, 99])


def _operator_tensor(dice: random.Random, model: Any) -> None:
    operator = dice.choice(model.subgraphs[0].operators)
    ends = list(dice.choice([operator.inputs, operator.outputs]))
    if ends:
        ends[dice.randrange(len(ends))] = dice.choice([_extreme(dice), dice.randrange(12)])
    operator.inputs, operator.outputs = (ends, operator.outputs) if dice.random() < 0.5 else (operator.inputs, ends)


def _operator_index(dice: random.Random, model: Any) -> None:
    operator = dice.choice(model.subgraphs[0].operators)
    operator.opcodeIndex = dice.choice([0, 1, 2, 99, 2**31 - 1])


def _options(dice: random.Random, model: Any) -> None:
    """The options of one operator given to another."""
    one, other = dice.choice(model.subgraphs[0].operators), dice.choice(model.subgraphs[0].operators)
    one.builtinOptions, one.builtinOptionsType = other.builtinOptions, other.builtinOptionsType


def _shape(dice: random.Random, model: Any) -> None:
    tensor = dice.choice(model.subgraphs[0].tensors)
    tensor.shape = [_extreme(dice) for _ in range(dice.choice([0, 1, 2, 3, 6, 40]))]
    if dice.random() < 0.5:
        tensor.shapeSignature = tensor.shape


def _type(dice: random.Random, model: Any) -> None:
    dice.choice(model.subgraphs[0].tensors).type = dice.choice([*range(19), 99])


def _buffer(dice: random.Random, model: Any) -> None:
    dice.choice(model.subgraphs[0].tensors).buffer = dice.choice([0, 1, 5, 99, 2**31])


def _buffer_content(dice: random.Random, model: Any) -> None:
    """Shapes, slices and axes of operators lie in buffers."""
    full = [buffer for buffer in model.buffers if buffer.data is not None and len(buffer.data)]
    dice.choice(full or model.buffers).data = list(
        dice.choice([b"\xff" * 8, b"\x00" * 4, dice.randbytes(16), b"\x7f" * 64, b""])
    )


def _graph_ends(dice: random.Random, model: Any) -> None:
    graph = model.subgraphs[0]
    graph.inputs = [dice.choice([_extreme(dice), dice.randrange(12)]) for _ in graph.inputs]
    if dice.random() < 0.5:
        graph.outputs = [_extreme(dice)]


def _signature(dice: random.Random, model: Any) -> None:
    signature = model.signatureDefs[0]
    match dice.randrange(4):
        case 0:
            signature.subgraphIndex = dice.choice([1, 99, 2**31])
        case 1:
            dice.choice(signature.inputs).tensorIndex = dice.choice([0, 5, 99, 2**31])
        case 2:
            signature.outputs[0].tensorIndex = dice.choice([0, 3, 99, 2**31])
        case _:
            model.signatureDefs = []


def _missing(dice: random.Random, model: Any) -> None:
    graph = model.subgraphs[0]
    match dice.randrange(5):
        case 0:
            del graph.operators[dice.randrange(len(graph.operators))]
        case 1:
            del graph.tensors[dice.randrange(len(graph.tensors)) :]
        case 2:
            model.subgraphs = []
        case 3:
            model.buffers = []
        case _:
            graph.operators.reverse()


_TFLITE: dict[str, Callable[[random.Random, Any], None]] = {
    "operator code": _operator_code,
    "operator's tensor": _operator_tensor,
    "operator's index": _operator_index,
    "options": _options,
    "shape": _shape,
    "type": _type,
    "buffer": _buffer,
    "buffer's content": _buffer_content,
    "ends of the graph": _graph_ends,
    "signature": _signature,
    "missing": _missing,
}
