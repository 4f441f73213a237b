"""What a node of Flower's simulation engine does: it lives the virtual devices whose state it holds.

A module of its own, because Ray sends functions to other processes and machines by the names of their modules.
"""

from functools import lru_cache

import msgspec
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from edge_agent.shell.virtual import Host
from firmware_configs.errors import EdgeError
from firmware_configs.virtual import Exercise, Failed, Live, World

WORD, WORLD, KEPT, ANSWERS, FAILED = "word", "world", "kept", "answers", "failed"
_encode = msgspec.msgpack.Encoder().encode
_words = msgspec.msgpack.Decoder(Live | Exercise)
_kept = msgspec.msgpack.Decoder(dict[int, bytes])
client = ClientApp()


@lru_cache(maxsize=1)
def _host(world: bytes) -> Host:
    return Host(msgspec.msgpack.decode(world, type=World))


@client.query()
def live(message: Message, context: Context) -> Message:
    """Do what the word says with this node's devices."""
    asked = message.content.config_records[WORD]
    try:
        host = _host(bytes(asked[WORLD]))  # type: ignore[arg-type]
        own = context.state.config_records.get(KEPT)
        host.kept = _kept.decode(bytes(own[KEPT])) if own is not None else {}  # type: ignore[arg-type]
        said = list(host.do(_words.decode(bytes(asked[WORD]))))  # type: ignore[arg-type]
    except EdgeError as error:
        told = ConfigRecord({FAILED: _encode(Failed(what=error.what, hint=error.hint))})
        return Message(RecordDict({ANSWERS: told}), reply_to=message)
    context.state.config_records[KEPT] = ConfigRecord({KEPT: _encode(host.kept)})
    return Message(RecordDict({ANSWERS: ConfigRecord({ANSWERS: _encode(said)})}), reply_to=message)
