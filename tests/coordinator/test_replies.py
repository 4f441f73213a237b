"""The record of replies: a line for each that came whole, in whatever order, whoever said the same before."""

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto import fleet_pb2, message_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.shell.replies import OPEN_MAX, Replies
from coordinator.shell.store import Store
from firmware_configs.ledger_record import Received, read_record


def _header(key: ec.EllipticCurvePublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_bytes(serialization.Encoding.PEM, form)).decode()


def _key() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP384R1()).public_key()


KEYS = [_header(_key()), _header(_key())]


def _id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _said(message: str, contents: list[bytes], node: int = 7) -> bytes:
    """A reply of a message object with these below it."""
    said = fleet_pb2.PushMessagesRequest()
    said.messages_list.add().metadata.message_id = message
    said.messages_list[0].metadata.src_node_id = node
    tree = said.message_object_trees.add(object_id=_id(contents[-1]))
    for content in contents[:-1]:
        tree.children.add(object_id=_id(content))
    return bytes(said.SerializeToString())


def _asked(contents: list[bytes]) -> bytes:
    answer = fleet_pb2.PushMessagesResponse(objects_to_push=[_id(one) for one in contents])
    return bytes(answer.SerializeToString())


def _object(content: bytes, identity: str = "") -> bytes:
    pushed = message_pb2.PushObjectRequest(object_id=identity or _id(content), object_content=content)
    return bytes(pushed.SerializeToString())


def _payload(contents: list[bytes]) -> Received:
    whole = b"".join(dict.fromkeys(contents))
    return Received(sha256=_id(whole), bytes=len(whole), destination="superlink")


@pytest.fixture
def replies(tmp_path: Path) -> Replies:
    Store(tmp_path / "home")
    return Replies(tmp_path / "home", tmp_path / "replies", lambda: 5)


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6, unique=True), st.data())
def test_a_reply_is_written_once_all_of_it_has_come_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("replies")
    Store(folder / "home")
    replies, record = Replies(folder / "home", folder / "out", lambda: 5), folder / "out" / "7.jsonl"
    replies.heard("push-messages", KEYS[0], _said("m", contents), _asked(contents))
    order = data.draw(st.permutations(contents))
    for content in order:
        assert not record.exists()
        replies.heard("push-object", KEYS[0], _object(content), b"")
    assert read_record(record) == [_payload(contents)]
    assert all(content not in record.read_bytes() for content in contents if len(content) > 6)


def test_an_object_that_somebody_else_had_sent_counts_for_both(replies: Replies, tmp_path: Path) -> None:
    shared, one, other = b"the same", b"mine", b"yours"
    replies.heard("push-messages", KEYS[0], _said("m", [shared, one], 7), _asked([shared, one]))
    for content in (shared, one):
        replies.heard("push-object", KEYS[0], _object(content), b"")
    replies.heard("push-messages", KEYS[1], _said("n", [shared, other], 8), _asked([other]))
    replies.heard("push-object", KEYS[1], _object(other), b"")
    assert read_record(tmp_path / "replies" / "7.jsonl") == [_payload([shared, one])]
    assert read_record(tmp_path / "replies" / "8.jsonl") == [_payload([shared, other])]


def test_what_is_not_what_it_says_or_was_cut_is_in_no_record(replies: Replies, tmp_path: Path) -> None:
    replies.heard("push-messages", KEYS[0], _said("m", [b"a", b"b"]), _asked([b"a", b"b"]))
    replies.heard("push-object", KEYS[0], _object(b"a"), b"")
    replies.heard("push-object", KEYS[0], _object(b"forged", _id(b"b")), b"")
    replies.heard("push-object", KEYS[1], _object(b"c"), b"")
    replies.heard("pull-object", KEYS[0], b"anything", b"")
    replies.heard("push-object", KEYS[0], b"\xff", b"")
    replies.heard("push-messages", "no key", b"\xff", b"")
    assert list((tmp_path / "replies").iterdir()) == []


def test_a_device_that_begins_replies_and_ends_none_takes_no_more_than_its_room(
    replies: Replies, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3 * OPEN_MAX):
        contents = [f"{number}".encode(), b"last"]
        replies.heard("push-messages", KEYS[0], _said(f"m{number}", contents), _asked(contents))
    assert "never came whole" in caplog.text
    replies.heard("push-object", KEYS[0], _object(b"last"), b"")
    for number in range(3 * OPEN_MAX):
        replies.heard("push-object", KEYS[0], _object(f"{number}".encode()), b"")
    assert len(read_record(tmp_path / "replies" / "7.jsonl")) == OPEN_MAX


def test_a_record_that_cannot_be_written_holds_up_nobody_and_is_said(
    replies: Replies, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "replies" / "7.jsonl").mkdir()
    replies.heard("push-messages", KEYS[0], _said("m", [b"a"]), _asked([b"a"]))
    replies.heard("push-object", KEYS[0], _object(b"a"), b"")
    assert "a reply is in no record" in caplog.text
