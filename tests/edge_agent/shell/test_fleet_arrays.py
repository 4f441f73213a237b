"""A round's arrays, there and back: small ones beside the plan and the facts, large ones as Flower's records."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, Metadata
from flwr.app.message.message import make_message
from flwr.common.serde import message_to_proto
from flwr.proto import fleet_pb2, message_pb2
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from coordinator.shell.grid import content_of, record_of
from edge_agent.shell import fleet_wire as wire
from edge_agent.shell.fleet import Fleet
from models.arrays import BESIDE_BYTES_MAX

RUN, NODE, APP = 5, 7, "0" * 64
SMALL = np.arange(300, dtype=np.float32)
LARGE = np.arange(BESIDE_BYTES_MAX // 4 + 1, dtype=np.float32)


class Line:
    """The SuperLink's end of a line: it has one message."""

    def __init__(self, message: Message) -> None:
        self.key = SimpleNamespace(public=b"")
        self._objects = {key: part.deflate() for key, part in get_all_nested_objects(message).items()}
        self.pulled = 0

    def call(self, name: str, **fields: Any) -> Any:
        self.pulled += name == "PullObject"
        answers: dict[str, dict[str, Any]] = {
            "ActivateNode": {"node_id": NODE},
            "GetRun": {"run": {"fab_hash": APP}},
            "PullObject": {
                "object_found": True,
                "object_available": True,
                "object_content": self._objects.get(fields.get("object_id", "")),
            },
        }
        return wire.MESSAGES[f"{name}Response"](**answers[name])


def asked(vectors: dict[str, Any], plan: dict[str, Any]) -> tuple[Message, bytes]:
    """The server's message, and how the SuperLink announces it."""
    metadata = Metadata(
        run_id=RUN,
        message_id="",
        src_node_id=1,
        dst_node_id=NODE,
        reply_to_message_id="",
        group_id="1",
        created_at=1_900_000_000.0,
        ttl=600.0,
        message_type="train",
    )
    message = make_message(metadata, record_of(vectors, plan))
    message.metadata.__dict__["_message_id"] = message.object_id
    told = message_pb2.Message.FromString(message_to_proto(message).SerializeToString())
    tree = get_object_tree(message)
    return message, fleet_pb2.PullMessagesResponse(
        messages_list=[told], message_object_trees=[tree]
    ).SerializeToString()


@pytest.mark.parametrize(("vector", "objects"), [(SMALL, 3), (LARGE, 6)], ids=["small", "large"])
def test_what_either_side_sends_the_other_reads_bit_for_bit(vector: np.ndarray, objects: int) -> None:
    message, note = asked({"shared": vector, "control": vector[:3]}, {"round": 1, "names": ["w"]})
    line = Line(message)
    fleet = Fleet(line, RUN, APP, lambda: True)  # type: ignore[arg-type]
    ask = fleet.read(note)
    assert ask.plan == {"round": 1, "names": ["w"]}
    assert {n: (v.dtype, v.tobytes()) for n, v in ask.arrays.items()} == {
        "shared": (vector.dtype, vector.tobytes()),
        "control": (vector.dtype, vector[:3].tobytes()),
    }
    assert (line.pulled == 3) == (objects == 3)
    delta = np.ones(vector.nbytes, np.int8)
    reply = fleet.prepare(ask, delta, {"examples": 8})
    assert len(reply.contents) == objects
    identity = wire.MESSAGES["ObjectTree"].FromString(reply.tree).object_id  # type: ignore[attr-defined]
    found, facts = content_of(inflate_object_from_contents(identity, dict(reply.contents)))  # type: ignore[arg-type]
    assert {n: (v.dtype, v.tobytes()) for n, v in found.items()} == {"delta": (delta.dtype, delta.tobytes())}
    assert facts == {"examples": 8}
