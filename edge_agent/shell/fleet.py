"""A device's talk with a SuperLink: take a round's message, send the reply. To it this is an ordinary SuperNode.

The app that the server offers is never fetched; only its hash is compared. `fleet_line` carries, `fleet_wire` knows
Flower's bytes; a contract test against a real SuperLink tells when these change (flwr is pinned in setup.cfg).
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.errors import NodeRefused, RoundRefused
from edge_agent.shell import fleet_wire as wire
from edge_agent.shell.fleet_line import FleetLine, NodeKey, RunOver
from edge_agent.shell.keys import node_of, note_node
from models import arrays
from models.errors import ModelError

POLL_S, POLL_S_MAX, POLL_GROWTH = 0.15, 2.0, 1.4
"""How often a waiting learner asks; the longer it waits, the less often: a fleet must not wear the server out."""
SURE = 0.75
"""Share of the shortest wait so far that is waited before asking at all: a run's rounds take much the same time."""
OBJECT_POLL_S = 0.05
"""The server announces a message before it has uploaded all of its parts."""
ALIVE_S = 2.0
"""How often a waiting learner asks at most whether the run still goes on."""
HEARTBEAT_S = 30.0
"""What the SuperLink is told; after twice as long without a word a node counts as gone."""
OBJECTS_MAX = 10_000
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Ask:
    """One message of the server."""

    arrays: Arrays
    plan: dict[str, Any]
    metadata: Any
    note: bytes
    """What to keep of it to ask for it again: its metadata and the ids of its parts, as the SuperLink gave them."""
    bytes: int


class Reply(Struct, frozen=True):
    """A reply with every byte of it at hand: the ledger can enter it first, and it can be sent again as it is."""

    run: int
    message: bytes
    """Flower's Message without its content."""
    tree: bytes
    """Its ObjectTree."""
    contents: dict[str, bytes]
    """Object id → object, in the order in which they are pushed."""
    asked: str
    """Id of the message that it answers."""

    @property
    def payload(self) -> bytes:
        """All objects, in the order in which they are pushed."""
        return b"".join(self.contents.values())


class Fleet:
    """An open connection: take a message, send a reply."""

    def __init__(self, line: FleetLine, run: int, app_hash: str, still_open: Callable[[], bool], node: int = 0) -> None:
        self._line, self._run, self._app_hash, self._still_open = line, run, app_hash, still_open
        self.node = self._activated(node)
        self._began = self._checked = False
        self._sent_s = self._gap_s = 0.0

    def _activated(self, node: int) -> int:
        try:
            return int(
                self._line.call(
                    "ActivateNode", public_key=self._line.key.public, heartbeat_interval=HEARTBEAT_S
                ).node_id
            )
        except NodeRefused:
            # Who was cut a moment ago, or whose SuperLink was, counts as online for a minute more, and is not activated
            # twice: its id goes on.
            beat: dict[str, Any] = {"node": {"node_id": node}, "heartbeat_interval": HEARTBEAT_S}
            if not node or not self._line.call("SendNodeHeartbeat", **beat).success:
                raise
            return node

    def _call(self, name: str, **fields: Any) -> Any:
        return self._line.call(name, node={"node_id": self.node}, **fields)

    def next(self) -> Ask | None:
        """The server's next message; None when the round has closed, or the run has ended, without one.

        Raises:
            RoundRefused: another run or another app than announced, or a message that cannot be read.
        """
        alive, pause = time.monotonic(), POLL_S
        if self._sent_s:
            time.sleep(min(max(SURE * self._gap_s, POLL_S), POLL_S_MAX))
        while self._still_open():
            taken = self._call("PullMessages")
            if taken.messages_list:
                self._came()
                return self.read(taken.SerializeToString())
            if time.monotonic() - alive > ALIVE_S:
                alive = time.monotonic()
                if not self._alive():
                    return None
            time.sleep(pause)
            pause = min(pause * POLL_GROWTH, POLL_S_MAX)
        return None

    def _came(self) -> None:
        if self._sent_s:
            waited_s = time.monotonic() - self._sent_s
            self._gap_s = min(self._gap_s or waited_s, waited_s)

    def stay(self, seconds: float) -> None:
        """Stay online for a while, or until the run is over, so that the server picks up what was sent."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._still_open() and self._alive():
            time.sleep(ALIVE_S)

    def _alive(self) -> bool:
        """Whether the run goes on or has yet to begin; the SuperLink tells of a run only while it goes on."""
        try:
            self._call("GetRun", run_id=self._run)
        except RunOver:
            return not self._began
        self._began = True
        return True

    def read(self, note: bytes) -> Ask:
        """Fetch the parts of a message that the SuperLink has announced, now or before this process began.

        Raises:
            RoundRefused: another run or another app than announced, or a message that cannot be read.
        """
        taken = wire.MESSAGES["PullMessagesResponse"].FromString(note)  # type: ignore[attr-defined]
        metadata, tree = taken.messages_list[0].metadata, taken.message_object_trees[0]
        self._check(metadata.run_id)
        contents = self._contents(tree)
        content = wire.read_message(tree.object_id, contents)
        small, plan = arrays.parted(content.config)
        try:
            sent = {name: arrays.read(raw, name[:40]) for name, raw in {**content.arrays, **small}.items()}
        except ModelError as error:
            raise RoundRefused(
                f"the round's message cannot be read: {error}", hint="is the server of the same version?"
            ) from error
        size = sum(len(raw) for raw in contents.values())
        return Ask(arrays=sent, plan=plan, metadata=metadata, note=note, bytes=size)

    def _check(self, run: int) -> None:
        if self._checked and run == self._run:
            return
        if run != self._run:
            raise RoundRefused(
                f"the SuperLink asks for run {run}, the offer was run {self._run}",
                hint="nothing to do; it was not ours",
            )
        offered = self._call("GetRun", run_id=run).run.fab_hash
        if offered != self._app_hash:
            raise RoundRefused(
                f"the SuperLink runs app {offered[:12]}…, the offer announced {self._app_hash[:12]}…",
                hint="start the round with `edge-coordinator train` of the installed version",
            )
        self._began = self._checked = True

    def _contents(self, tree: Any) -> dict[str, bytes]:
        contents: dict[str, bytes] = {}
        left = MESSAGE_BYTES_MAX
        for identity in wire.ids_of(tree):
            if identity in contents:
                continue
            contents[identity] = self._object(identity)
            left -= len(contents[identity])
            if left < 0 or len(contents) > OBJECTS_MAX:
                raise RoundRefused(
                    f"the round's message is above {MESSAGE_BYTES_MAX} bytes or {OBJECTS_MAX} parts",
                    hint="train a smaller bundle on devices of this class",
                )
        return contents

    def _object(self, identity: str) -> bytes:
        while True:
            answer = self._call("PullObject", run_id=self._run, object_id=identity)
            if not answer.object_found:
                raise RoundRefused("the round's message is incomplete: a part is gone", hint="nothing to do")
            if answer.object_available:
                return bytes(answer.object_content)
            if not self._still_open():
                raise RoundRefused("the round closed in the middle of its message", hint="nothing to do")
            time.sleep(OBJECT_POLL_S)

    def prepare(self, ask: Ask, delta: NDArray[np.generic], facts: Mapping[str, Any]) -> Reply:
        """The reply as the bytes that would leave; nothing is sent yet."""
        small = arrays.beside({"delta": delta})
        if small is not None:
            return self.reply(ask, {"facts": wire.config_part({**facts, **small})})
        return self.reply(
            ask, {"delta": wire.arrays_part({"delta": wire.array_of(delta)}), "facts": wire.config_part(facts)}
        )

    def prepare_part(self, ask: Ask, part: bytes) -> Reply:
        """The reply to a stage of a secret sum as the bytes that would leave; nothing is sent yet."""
        return self.reply(ask, {"secret": wire.config_part({"secret": part})})

    def refuse(self, ask: Ask, code: str, reason: str) -> Reply:
        """A reply that says why there is none; reason and code only."""
        return self.reply(ask, None, wire.MESSAGES["Error"](code=0, reason=f"{code} {reason}"))

    def reply(self, ask: Ask, records: Mapping[str, wire.Part] | None, error: Any = None) -> Reply:
        """A reply that holds these records, or an error."""
        asked, now_s = ask.metadata, time.time()
        metadata = wire.MESSAGES["Metadata"](
            run_id=asked.run_id,
            src_node_id=asked.dst_node_id,
            dst_node_id=asked.src_node_id,
            reply_to_message_id=asked.message_id,
            group_id=asked.group_id,
            created_at=now_s,
            ttl=asked.created_at + asked.ttl - now_s,
            message_type=asked.message_type,
            # A field that was not given is not given back.
            src_task_id=asked.dst_task_id if asked.HasField("dst_task_id") else None,
            dst_task_id=asked.src_task_id if asked.HasField("src_task_id") else None,
        )
        part = wire.message_part(metadata, records, error)
        metadata.message_id = part.id
        empty = None if records is None else wire.MESSAGES["RecordDict"]()
        return Reply(
            run=int(asked.run_id),
            message=wire.MESSAGES["Message"](metadata=metadata, content=empty, error=error).SerializeToString(),
            tree=part.tree().SerializeToString(),
            contents={one.id: one.raw for one in part.walk()},
            asked=str(asked.message_id),
        )

    def send(self, reply: Reply, seconds: float) -> None:
        """Send a prepared reply; the same one again changes nothing.

        Args:
            seconds: time spent on it, told to the server.
        """
        answer = self._call(
            "PushMessages",
            messages_list=[wire.MESSAGES["Message"].FromString(reply.message)],  # type: ignore[attr-defined]
            message_object_trees=[wire.MESSAGES["ObjectTree"].FromString(reply.tree)],  # type: ignore[attr-defined]
            clientapp_runtime_list=[seconds],
        )
        wanted = set(answer.objects_to_push)
        for identity, raw in reply.contents.items():
            if identity in wanted:
                session = answer.session_id
                self._call("PushObject", run_id=reply.run, object_id=identity, object_content=raw, session_id=session)
        # A run that takes a reply has begun: one that was kept from before a cut may be its last word.
        self._began = True
        # Only now may the SuperLink forget what it asked: a learner that is cut before can read it again.
        self._call("ConfirmMessageReceived", run_id=reply.run, message_object_id=reply.asked)
        self._sent_s = time.monotonic()


def pack(reply: Reply) -> bytes:
    """A reply as it is kept until it was sent."""
    return msgspec.msgpack.encode(reply)


def unpack(packed: bytes) -> Reply:
    """The reply again.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return msgspec.msgpack.decode(packed, type=Reply)


@contextmanager
def connect(
    superlink: str,
    ca: str,
    node_key: Path,
    run: str,
    app_hash: str,
    still_open: Callable[[], bool],
) -> Iterator[Fleet]:
    """Open the fleet connection.

    Args:
        superlink: `host:port`.
        ca: certificate path; empty for no TLS (development only).
        node_key: private key of this node, OpenSSH or PEM.
        run: the run that was offered; another one's messages are refused.
        app_hash: sha256 (hex) of the app that was announced.
        still_open: whether the round has not closed yet.
    Raises:
        SuperLinkUnreachable: nobody answers there, or its certificate does not chain to `ca`.
        NodeRefused: the node's key is not enrolled, or was revoked.
        RoundRefused: the run ended while it was being answered.
    """
    key = NodeKey(node_key)
    if not run.isdecimal():
        raise RoundRefused(f"`{run[:40]}` is no run", hint="start rounds with `edge-coordinator train`")
    line = FleetLine(superlink, ca, key)
    try:
        fleet = Fleet(line, int(run), app_hash, still_open, node_of(node_key))
        note_node(node_key, fleet.node)
        with _heartbeats(superlink, ca, key, fleet.node):
            try:
                yield fleet
            finally:
                line.quietly("DeactivateNode", node_id=fleet.node)
    finally:
        line.close()


@contextmanager
def _heartbeats(superlink: str, ca: str, key: NodeKey, node: int) -> Iterator[None]:
    """Say that we are there while a long training keeps the talking thread; over a connection of its own."""
    over = threading.Event()

    def beat() -> None:
        line: FleetLine | None = None
        while not over.wait(HEARTBEAT_S / 2):
            line = line or FleetLine(superlink, ca, key)
            line.quietly("SendNodeHeartbeat", node={"node_id": node}, heartbeat_interval=HEARTBEAT_S)
        if line is not None:
            line.close()

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
