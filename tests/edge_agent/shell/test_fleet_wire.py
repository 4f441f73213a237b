"""Our bytes are Flower's bytes: each field of each message, each object of a reply, and what is read of a message."""

import hashlib
import subprocess
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, Metadata, RecordDict
from flwr.app.message.message import make_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto import error_pb2, fleet_pb2, heartbeat_pb2, message_pb2, node_pb2, recorddict_pb2, run_pb2
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.version import package_version
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import RoundRefused
from edge_agent.shell import fleet_wire as wire

PROTOS = (message_pb2, fleet_pb2, recorddict_pb2, run_pb2, node_pb2, error_pb2, heartbeat_pb2)
SCALARS = {
    "bool": st.booleans(),
    "int": st.integers(-(2**63), 2**64 - 1),
    "float": st.floats(allow_nan=False),
    "str": st.text(max_size=20),
    "bytes": st.binary(max_size=20),
}
VALUES = st.one_of(
    *SCALARS.values(),
    st.lists(st.booleans(), min_size=1, max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4),
    *(st.lists(SCALARS[name], min_size=1, max_size=4) for name in ("float", "str", "bytes")),
)


def flowers(name: str) -> Any:
    for module in PROTOS:
        found = getattr(module, name.split(".", maxsplit=1)[0], None)
        if found is not None:
            for inner in name.split(".")[1:]:
                found = getattr(found, inner)
            return found
    raise AssertionError(f"flwr has no message {name}")


def test_the_version_that_is_spoken_is_the_one_that_is_installed() -> None:
    assert package_version == wire.SPOKEN


@pytest.mark.parametrize("name", sorted(wire.MESSAGES))
def test_each_field_is_flowers(name: str) -> None:
    theirs = {field.name: field for field in flowers(name).DESCRIPTOR.fields}
    for field in wire.MESSAGES[name].DESCRIPTOR.fields:  # type: ignore[attr-defined]
        other = theirs[field.name]
        assert (field.number, field.type, field.is_repeated, field.is_packed, field.has_presence) == (
            other.number,
            other.type,
            other.is_repeated,
            other.is_packed,
            other.has_presence,
        )
        assert (field.containing_oneof is None) == (other.containing_oneof is None)
        if field.message_type is not None:
            assert field.message_type.name == other.message_type.name


def asked(records: RecordDict) -> Message:
    metadata = Metadata(
        run_id=2**63 + 5,
        message_id="",
        src_node_id=1,
        dst_node_id=2**63 + 7,
        reply_to_message_id="",
        group_id="3",
        created_at=1_900_000_000.0,
        ttl=600.0,
        message_type="train",
        src_task_id=9,
    )
    message = make_message(metadata, records)
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


@given(
    shape=st.lists(st.integers(0, 5), max_size=3),
    values=st.dictionaries(st.text(max_size=10), VALUES, max_size=6),
    seed=st.integers(0, 9),
)
def test_a_message_of_flowers_is_read_as_it_was_written(shape: list[int], values: dict[str, Any], seed: int) -> None:
    vector = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    record = RecordDict({"a": ArrayRecord({"shared": Array(vector)}), "b": ConfigRecord(values)})
    message = asked(record)
    contents = {key: part.deflate() for key, part in get_all_nested_objects(message).items()}
    found = wire.read_message(message.object_id, contents)
    assert found.arrays == {"shared": record.array_records["a"]["shared"].data}
    assert found.config == values
    tree = wire.MESSAGES["ObjectTree"].FromString(get_object_tree(message).SerializeToString())  # type: ignore[attr-defined]
    assert set(wire.ids_of(tree)) == set(contents)


@given(values=st.dictionaries(st.text(max_size=10), VALUES, max_size=6), same=st.booleans(), size=st.integers(0, 40))
def test_a_reply_of_ours_is_byte_for_byte_what_flower_would_send(values: dict[str, Any], same: bool, size: int) -> None:
    vector = np.zeros(size, np.int8) if same else np.arange(size, dtype=np.int8)
    arrays = {"delta": vector, "again": vector}
    theirs = Message(
        RecordDict({"d": ArrayRecord({n: Array(v) for n, v in arrays.items()}), "f": ConfigRecord(values)}),
        reply_to=asked(RecordDict()),
    )
    theirs.metadata.__dict__["_message_id"] = theirs.object_id
    proto = message_to_proto(theirs)
    metadata = wire.MESSAGES["Metadata"].FromString(proto.metadata.SerializeToString())  # type: ignore[attr-defined]
    records = {
        "d": wire.arrays_part({n: wire.array_of(v) for n, v in arrays.items()}),
        "f": wire.config_part(values),
    }
    ours = wire.message_part(metadata, records)
    contents = {part.id: part.raw for part in ours.walk()}
    assert contents == {key: part.deflate() for key, part in get_all_nested_objects(theirs).items()}
    assert ours.tree().SerializeToString() == get_object_tree(theirs).SerializeToString()
    assert ours.id == theirs.object_id
    again = message_from_proto(message_pb2.Message.FromString(proto.SerializeToString()))
    assert again.metadata.reply_to_message_id == theirs.metadata.reply_to_message_id


def test_arrays_above_a_chunk_are_cut_as_flower_cuts_them() -> None:
    for vector in (np.zeros(12 * 1024 * 1024, np.int8), np.arange(3 * 1024 * 1024, dtype=np.float32)):
        record = ArrayRecord({"x": Array(vector)})
        ours = wire.arrays_part({"x": wire.array_of(vector)})
        assert {p.id: p.raw for p in ours.walk()} == {k: p.deflate() for k, p in get_all_nested_objects(record).items()}


@given(st.data())
def test_a_message_that_is_not_what_it_says_is_refused_by_name(data: st.DataObject) -> None:
    record = RecordDict({"a": ArrayRecord({"x": Array(np.ones(3, np.float32))}), "b": ConfigRecord({"round": 1})})
    message = asked(record)
    contents = {key: part.deflate() for key, part in get_all_nested_objects(message).items()}
    broken = data.draw(st.sampled_from(sorted(contents)))
    at = data.draw(st.integers(0, len(contents[broken]) - 1))
    if data.draw(st.booleans()):
        del contents[broken]
    else:
        changed = bytearray(contents[broken])
        changed[at] ^= 1 << data.draw(st.integers(0, 7))
        contents[broken] = bytes(changed)
    with pytest.raises(RoundRefused):
        wire.read_message(message.object_id, contents)


@given(st.text(max_size=30), st.binary(max_size=60))
def test_a_stranger_s_objects_never_crash_the_reader(kind: str, body: bytes) -> None:
    """Well-formed in hash and head, anything in the body."""
    inner = f"{kind}  {len(body)}".encode() + b"\x00" + body
    inner_id = hashlib.sha256(inner).hexdigest()
    for outer_kind in ("Message", "RecordDict"):
        named = b'{"a": "%s"}' % inner_id.encode()
        middle = f"RecordDict {inner_id} {len(named)}".encode() + b"\x00" + named
        middle_id = hashlib.sha256(middle).hexdigest()
        outer = f"{outer_kind} {middle_id} 0".encode() + b"\x00"
        outer_id = hashlib.sha256(outer).hexdigest()
        with suppress(RoundRefused):
            wire.read_message(outer_id, {inner_id: inner, middle_id: middle, outer_id: outer})


def test_a_learner_loads_nothing_of_flower_or_of_what_it_brings() -> None:
    code = "import sys, edge_agent.shell.learner, edge_agent.shell.fleet; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"flwr", "grpc", "fastapi", "pydantic", "httpx", "requests", "rich", "pandas", "torch"})
