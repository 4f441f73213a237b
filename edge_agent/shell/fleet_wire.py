"""Flower's fleet API as bytes: its protobuf messages, and the objects into which a message is cut. No I/O.

Only the parts that a learner needs. flwr has them too, but its modules bring fastapi, grpc, pydantic and rich along:
60 MB and a second of processor time, for a client. `tests/edge_agent/shell/test_fleet_wire.py` holds each field and
each byte to the installed flwr.

An object is `KIND CHILD,CHILD LENGTH`, a zero byte, and a body; its id is the sha256 of all that. A message's object
holds its metadata, its records are children of it, an array's data are children of the array.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.lib import format as npy
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused

SPOKEN = "1.42.0"
"""Flower's version whose messages these are."""
CHUNK_BYTES = 5 * 1024 * 1024
DEPTH_MAX = 8
UINT64 = 2**64

# Message → fields as (name, number, kind): `*` is a list, `?` knows whether it was given, `|` is one of several.
_FIELDS: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Node": (("node_id", 1, "uint64"),),
    "Error": (("code", 1, "sint64"), ("reason", 2, "string")),
    "RecordDict": (),
    "Metadata": (
        ("run_id", 1, "uint64"),
        ("message_id", 2, "string"),
        ("src_node_id", 3, "uint64"),
        ("dst_node_id", 4, "uint64"),
        ("reply_to_message_id", 5, "string"),
        ("group_id", 6, "string"),
        ("ttl", 7, "double"),
        ("message_type", 8, "string"),
        ("created_at", 9, "double"),
        ("src_task_id", 10, "?uint64"),
        ("dst_task_id", 11, "?uint64"),
    ),
    "Message": (("metadata", 1, "Metadata"), ("content", 2, "RecordDict"), ("error", 3, "Error")),
    "ObjectTree": (("object_id", 1, "string"), ("children", 2, "*ObjectTree")),
    "DoubleList": (("vals", 1, "*double"),),
    "SintList": (("vals", 1, "*sint64"),),
    "UintList": (("vals", 1, "*uint64"),),
    "BoolList": (("vals", 1, "*bool"),),
    "StringList": (("vals", 1, "*string"),),
    "BytesList": (("vals", 1, "*bytes"),),
    "ConfigRecordValue": (
        ("double", 1, "|double"),
        ("sint64", 2, "|sint64"),
        ("uint64", 3, "|uint64"),
        ("bool", 4, "|bool"),
        ("string", 5, "|string"),
        ("bytes", 6, "|bytes"),
        ("double_list", 21, "|DoubleList"),
        ("sint_list", 22, "|SintList"),
        ("uint_list", 23, "|UintList"),
        ("bool_list", 24, "|BoolList"),
        ("string_list", 25, "|StringList"),
        ("bytes_list", 26, "|BytesList"),
    ),
    "ConfigRecord.Item": (("key", 1, "string"), ("value", 2, "ConfigRecordValue")),
    "ConfigRecord": (("items", 1, "*ConfigRecord.Item"),),
    "Run": (("run_id", 1, "uint64"), ("fab_hash", 5, "string")),
    "ActivateNodeRequest": (("public_key", 1, "bytes"), ("heartbeat_interval", 2, "double")),
    "ActivateNodeResponse": (("node_id", 1, "uint64"),),
    "DeactivateNodeRequest": (("node_id", 1, "uint64"),),
    "DeactivateNodeResponse": (),
    "SendNodeHeartbeatRequest": (("node", 1, "Node"), ("heartbeat_interval", 2, "double")),
    "SendNodeHeartbeatResponse": (("success", 1, "bool"),),
    "PullMessagesRequest": (("node", 1, "Node"),),
    "PullMessagesResponse": (("messages_list", 2, "*Message"), ("message_object_trees", 3, "*ObjectTree")),
    "PushMessagesRequest": (
        ("node", 1, "Node"),
        ("messages_list", 2, "*Message"),
        ("message_object_trees", 3, "*ObjectTree"),
        ("clientapp_runtime_list", 4, "*double"),
    ),
    "PushMessagesResponse": (("objects_to_push", 3, "*string"), ("session_id", 4, "string")),
    "PullObjectRequest": (("node", 1, "Node"), ("run_id", 2, "uint64"), ("object_id", 3, "string")),
    "PullObjectResponse": (
        ("object_found", 1, "bool"),
        ("object_available", 2, "bool"),
        ("object_content", 3, "bytes"),
    ),
    "PushObjectRequest": (
        ("node", 1, "Node"),
        ("run_id", 2, "uint64"),
        ("object_id", 3, "string"),
        ("object_content", 4, "bytes"),
        ("session_id", 5, "string"),
    ),
    "PushObjectResponse": (("stored", 1, "bool"),),
    "ConfirmMessageReceivedRequest": (("node", 1, "Node"), ("run_id", 2, "uint64"), ("message_object_id", 3, "string")),
    "ConfirmMessageReceivedResponse": (),
    "GetRunRequest": (("node", 1, "Node"), ("run_id", 2, "uint64")),
    "GetRunResponse": (("run", 1, "Run"),),
}
_PACKAGE = "edgeward.fleet"


def _declared() -> dict[str, Callable[..., Any]]:
    """Message → its class, in a pool of their own: where flwr is loaded too, neither sees the other's."""
    file = descriptor_pb2.FileDescriptorProto(name="edgeward/fleet.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _FIELDS.items():
        outer, _, inner = name.rpartition(".")
        if outer:
            continue
        message = file.message_type.add(name=inner)
        for nested in (one for one in _FIELDS if one.startswith(f"{name}.")):
            _declare(message.nested_type.add(name=nested.rpartition(".")[2]), _FIELDS[nested])
        _declare(message, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName
    return {name: message_factory.GetMessageClass(found(f"{_PACKAGE}.{name}")) for name in _FIELDS}


def _declare(message: Any, fields: Sequence[tuple[str, int, str]]) -> None:
    kinds = descriptor_pb2.FieldDescriptorProto
    if any(kind.startswith("|") for _, _, kind in fields):
        message.oneof_decl.add(name="value")
    for name, number, kind in fields:
        bare = kind.lstrip("*?|")
        field = message.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
        if bare[0].isupper():
            field.type, field.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{bare}"
        else:
            field.type = getattr(kinds, f"TYPE_{bare.upper()}")
        match kind[0]:
            case "*":
                field.label = kinds.LABEL_REPEATED
            case "|":
                field.oneof_index = 0
            case "?":
                field.proto3_optional = True
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{name}")


MESSAGES = _declared()


class Part(NamedTuple):
    """One object and those below it."""

    id: str
    raw: bytes
    children: tuple["Part", ...] = ()

    def walk(self) -> Iterator["Part"]:
        """All objects, children first; the same one may come twice."""
        for child in self.children:
            yield from child.walk()
        yield self

    def tree(self) -> Any:
        """As an ObjectTree."""
        return MESSAGES["ObjectTree"](object_id=self.id, children=[child.tree() for child in self.children])


def _part(kind: str, body: bytes, children: Sequence[Part] = ()) -> Part:
    distinct = tuple({child.id: child for child in children}.values())
    raw = f"{kind} {','.join(child.id for child in distinct)} {len(body)}".encode() + b"\x00" + body
    return Part(hashlib.sha256(raw).hexdigest(), raw, distinct)


def array_part(dtype: str, shape: Sequence[int], data: bytes) -> Part:
    """An array whose data (a .npy file) are cut into chunks."""
    chunks = [_part("ArrayChunk", data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES)]
    distinct = list({chunk.id: None for chunk in chunks})
    told = {
        "dtype": dtype,
        "shape": list(shape),
        "stype": "numpy.ndarray",
        "arraychunk_ids": [distinct.index(chunk.id) for chunk in chunks],
    }
    return _part("Array", json.dumps(told).encode(), chunks)


def array_of(value: NDArray[np.generic]) -> Part:
    """The same for an array at hand."""
    buffer = io.BytesIO()
    npy.write_array(buffer, value, allow_pickle=False)
    return array_part(str(value.dtype), value.shape, buffer.getvalue())


def arrays_part(arrays: Mapping[str, Part]) -> Part:
    """An ArrayRecord."""
    return _part("ArrayRecord", json.dumps({n: p.id for n, p in arrays.items()}).encode(), list(arrays.values()))


def config_part(values: Mapping[str, Any]) -> Part:
    """A ConfigRecord.

    Args:
        values: bool, int, float, str, bytes, or lists of one of these.
    """
    items = [MESSAGES["ConfigRecord.Item"](key=name, value=_value(value)) for name, value in values.items()]
    return _part("ConfigRecord", MESSAGES["ConfigRecord"](items=items).SerializeToString())


def _value(value: Any) -> Any:
    make = MESSAGES["ConfigRecordValue"]
    several = isinstance(value, list)
    ones = value if several else [value]
    kind = next((kind for kind in _LISTS if all(isinstance(one, kind) for one in ones)), None)
    if kind is None:
        raise TypeError(f"a record holds no {type(value).__name__}")
    unsigned = kind is int and any(one >= UINT64 // 2 for one in ones)
    lists = "UintList" if unsigned else _LISTS[kind]
    field = "uint64" if unsigned else _SINGLE.get(kind, kind.__name__)
    if several:
        return make(**{f"{lists.removesuffix('List').lower()}_list": MESSAGES[lists](vals=value)})
    return make(**{field: value})


_LISTS: dict[type, str] = {
    # bool first: in Python it is an int too.
    bool: "BoolList",
    int: "SintList",
    float: "DoubleList",
    str: "StringList",
    bytes: "BytesList",
}
_SINGLE: dict[type, str] = {int: "sint64", float: "double", str: "string"}


def message_part(metadata: Any, records: Mapping[str, Part] | None, error: Any = None) -> Part:
    """A whole message: its records, or an error in their place."""
    bare = MESSAGES["Metadata"]()
    bare.CopyFrom(metadata)
    bare.message_id = ""
    body = MESSAGES["Message"](metadata=bare, error=error).SerializeToString(deterministic=True)
    if records is None:
        return _part("Message", body)
    named = json.dumps({name: part.id for name, part in records.items()}).encode()
    return _part("Message", body, [_part("RecordDict", named, list(records.values()))])


class Content(NamedTuple):
    """What a message says."""

    arrays: dict[str, bytes]
    """Name → a .npy file, of all its ArrayRecords."""
    config: dict[str, Any]


def read_message(root: str, contents: Mapping[str, bytes]) -> Content:
    """A message's records.

    Args:
        root: id of the message's object.
        contents: id → object.
    Raises:
        RoundRefused: an object that is missing, is not what its id says, or cannot be read.
    """
    try:
        return _read_message(root, contents)
    except (DecodeError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise RoundRefused(
            f"the round's message cannot be read: {type(error).__name__} {str(error)[:200]}",
            hint="is the server of the same version?",
        ) from error


def _read_message(root: str, contents: Mapping[str, bytes]) -> Content:
    found = Content({}, {})
    _, children, _ = _opened("Message", root, contents)
    (content,) = children
    _, _, named = _opened("RecordDict", content, contents)
    for record in json.loads(named).values():
        kind, _, body = _opened("", record, contents)
        if kind == "ArrayRecord":
            for name, array in json.loads(body).items():
                found.arrays[name] = _data(array, contents)
        elif kind == "ConfigRecord":
            for item in MESSAGES["ConfigRecord"].FromString(body).items:  # type: ignore[attr-defined]
                found.config[item.key] = _told(item.value)
    return found


def _opened(kind: str, identity: str, contents: Mapping[str, bytes]) -> tuple[str, list[str], bytes]:
    raw = contents[identity]
    if hashlib.sha256(raw).hexdigest() != identity:
        raise ValueError("an object is not what its id says")
    head, _, body = raw.partition(b"\x00")
    said, children, length = head.decode().split(" ")
    if int(length) != len(body) or (kind and said != kind):
        raise ValueError(f"an object is no {kind or said} of {length} bytes")
    return said, children.split(",") if children else [], body


def _data(array: str, contents: Mapping[str, bytes]) -> bytes:
    _, children, told = _opened("Array", array, contents)
    return b"".join(_opened("ArrayChunk", children[n], contents)[2] for n in json.loads(told)["arraychunk_ids"])


def _told(value: Any) -> Any:
    field = value.WhichOneof("value")
    held = getattr(value, field)
    return list(held.vals) if field.endswith("list") else held


def ids_of(tree: Any, depth: int = 0) -> Iterator[str]:
    """The ids in an ObjectTree, children first.

    Raises:
        RoundRefused: it is deeper than a message's.
    """
    if depth > DEPTH_MAX:
        raise RoundRefused("the round's message is nested too deeply", hint="is the server of the same version?")
    for child in tree.children:
        yield from ids_of(child, depth + 1)
    yield str(tree.object_id)
