"""What a node of Flower's simulation engine does: it lives the virtual devices whose state it holds.

A module of its own, because Ray sends functions to other processes and machines by the names of their modules. What
they need of files comes with each task as references into Ray's object store: the bytes go to a machine once, and a
process reads them once, however many messages it is sent (ADR 0082).
"""

from typing import Any

import msgspec
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from edge_agent.shell.virtual import Host
from edge_agent.shell.virtual_files import Carried
from firmware_configs.errors import EdgeError
from firmware_configs.virtual import Exercise, Failed, Live, World

WORD, WORLD, KEPT, ANSWERS, FAILED = "word", "world", "kept", "answers", "failed"
Refs = dict[str, Any]
"""Path → `ray.ObjectRef` of its bytes; Ray itself comes without types."""
_encode = msgspec.msgpack.Encoder().encode
_words = msgspec.msgpack.Decoder(Live | Exercise)
_kept = msgspec.msgpack.Decoder(dict[int, bytes])


class _Worker:
    """The one host of a process that Ray started, for the newest world."""

    def __init__(self) -> None:
        self._world = b""
        self._host: Host | None = None
        self._files: Carried[Any] = Carried(_fetch)

    def host(self, world: bytes, refs: Refs) -> Host:
        if self._host is None or world != self._world:
            self._host, self._files = None, Carried(_fetch)
            self._files.take(refs)
            self._host, self._world = Host(msgspec.msgpack.decode(world, type=World), self._files), world
        self._files.take(refs)
        return self._host


def _fetch(ref: Any) -> bytes:
    import ray

    return bytes(ray.get(ref))


_worker = _Worker()


class Lives:
    """The handler: Ray copies it into each task as it is then."""

    def __init__(self, refs: Refs) -> None:
        self._refs = refs

    def __call__(self, message: Message, context: Context) -> Message:
        """Do what the word says with this node's devices."""
        asked = message.content.config_records[WORD]
        try:
            host = _worker.host(bytes(asked[WORLD]), self._refs)  # type: ignore[arg-type]
            own = context.state.config_records.get(KEPT)
            host.kept = _kept.decode(bytes(own[KEPT])) if own is not None else {}  # type: ignore[arg-type]
            said = list(host.do(_words.decode(bytes(asked[WORD]))))  # type: ignore[arg-type]
        except EdgeError as error:
            told = ConfigRecord({FAILED: _encode(Failed(what=error.what, hint=error.hint))})
            return Message(RecordDict({ANSWERS: told}), reply_to=message)
        context.state.config_records[KEPT] = ConfigRecord({KEPT: _encode(host.kept)})
        return Message(RecordDict({ANSWERS: ConfigRecord({ANSWERS: _encode(said)})}), reply_to=message)


def client(refs: Refs) -> ClientApp:
    """The client app.

    Args:
        refs: what its tasks carry; may grow between two messages.
    """
    app = ClientApp()
    app.query()(Lives(refs))
    return app
