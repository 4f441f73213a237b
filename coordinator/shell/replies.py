"""A record of what devices' learners say to the SuperLink, made at the door: sizes and hashes, never what is in it.

A reply comes as a list of objects, then the objects, each in a call of its own. Its payload, as the device enters it in
its ledger, is all of them end to end, children first. Only calls that the SuperLink took count, so the key that a
device shows with them is its own.
"""

import hashlib
import logging
import os
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from flwr.proto import fleet_pb2, message_pb2
from google.protobuf.message import DecodeError

from coordinator.errors import KeyInvalid
from coordinator.shell.enrol import public_key
from coordinator.shell.store import Store

CALLS = frozenset({"push-messages", "push-object"})
HELD_BYTES_MAX = 256 * 1024 * 1024
"""Of objects that may still be needed: several devices may say the same one, and only the first is asked to send it."""
OPEN_MAX = 16
"""Replies of one device that have begun to come."""
_log = logging.getLogger(__name__)


@dataclass
class _Reply:
    node: int
    ids: tuple[str, ...]
    wanted: set[str]
    """What the SuperLink asked for and did not get yet."""
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    at: int = 0
    """How many of the objects the digest is over."""


class Replies:
    """Writes `FOLDER/DEVICE.jsonl` as `edge-audit ledger reconcile` reads it: a line for each reply that came whole."""

    def __init__(self, home: Path, folder: Path, now_ms: Callable[[], int]) -> None:
        """Nothing is written yet.

        Raises:
            OSError: the folder cannot be made.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._home, self._folder, self._now_ms = home, folder, now_ms
        self._open: dict[str, dict[str, _Reply]] = {}
        self._objects: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0
        self._names: dict[str, str] = {}

    def heard(self, call: str, key: str, body: bytes, answer: bytes) -> None:
        """Take a call that the SuperLink took.

        Args:
            call: its last word, such as `push-object`.
            key: what the device showed as its own with it: base64 of PEM.
        """
        if call not in CALLS:
            return
        try:
            self._hear(call, key, body, answer)
        except DecodeError as error:
            _log.error("a call is in no record: %s", error)

    def _hear(self, call: str, key: str, body: bytes, answer: bytes) -> None:
        if call == "push-object":
            pushed = message_pb2.PushObjectRequest.FromString(body)
            self._take(key, pushed.object_id, pushed.object_content)
            return
        said = fleet_pb2.PushMessagesRequest.FromString(body)
        wanted = set(fleet_pb2.PushMessagesResponse.FromString(answer).objects_to_push)
        mine = self._open.setdefault(key, {})
        for message, tree in zip(said.messages_list, said.message_object_trees, strict=False):
            ids = tuple(dict.fromkeys(_ids(tree)))
            reply = _Reply(node=message.metadata.src_node_id, ids=ids, wanted=wanted & set(ids))
            mine[message.metadata.message_id] = reply
        while len(mine) > OPEN_MAX:
            gone = next(iter(mine))
            del mine[gone]
            _log.warning("a reply (%s) never came whole: it is in no record", gone)
        self._advance(key)

    def _take(self, key: str, identity: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != identity:
            return
        if identity not in self._objects:
            self._objects[identity] = content
            self._held += len(content)
        for reply in self._open.get(key, {}).values():
            reply.wanted.discard(identity)
        self._advance(key)
        while self._held > HELD_BYTES_MAX:
            self._held -= len(self._objects.popitem(last=False)[1])

    def _advance(self, key: str) -> None:
        mine = self._open.get(key, {})
        for message, reply in list(mine.items()):
            while reply.at < len(reply.ids) and (content := self._objects.get(reply.ids[reply.at])) is not None:
                reply.digest.update(content)
                reply.size += len(content)
                reply.at += 1
            if reply.at == len(reply.ids) and not reply.wanted:
                del mine[message]
                self._write(key, reply)

    def _write(self, key: str, reply: _Reply) -> None:
        line = {
            "sha256": reply.digest.hexdigest(),
            "bytes": reply.size,
            "destination": "superlink",
            "node": reply.node,
            "time_ms": self._now_ms(),
        }
        path = self._folder / f"{self._name(key) or reply.node}.jsonl"
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            # A round does not wait for its record; what is missing there is never found undeclared.
            _log.error("a reply is in no record: %s: %s", path, error.strerror)

    def _name(self, key: str) -> str:
        """The device whose key it is; empty: none that is enrolled."""
        if key not in self._names:
            try:
                own = public_key(b64decode(key, validate=True), "the key of a call")
            except (ValueError, KeyInvalid):
                return ""
            devices = Store(self._home).devices(revoked=True)
            found = next((one.name for one in devices if one.public_key == own), "")
            if not found:
                return ""
            self._names[key] = found
        return self._names[key]


def _ids(tree: Any) -> Iterator[str]:
    """The ids in an ObjectTree, children first."""
    for child in tree.children:
        yield from _ids(child)
    yield str(tree.object_id)
