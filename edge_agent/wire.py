"""Our own messages, read in msgpack or JSON, and written as the reader asked."""

from typing import TypeVar

import msgspec
from msgspec import Struct

from edge_agent.errors import IntakeError, PayloadTooLarge
from edge_agent.happenings import Message
from edge_agent.limits import PAYLOAD_BYTES_MAX
from firmware_configs.messages import JSON

Word = TypeVar("Word", bound=Struct)

_pack = msgspec.msgpack.Encoder()
_json = msgspec.json.Encoder()


def read_word(message: Message, kind: type[Word], refuse: type[IntakeError]) -> Word:
    """The message as one of our structs.

    Raises:
        IntakeError: what `refuse` is; the message says what was expected, never what was found.
    """
    if len(message.payload) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(f"{len(message.payload)} bytes; at most {PAYLOAD_BYTES_MAX}", hint="send less at once")
    decode = msgspec.json.decode if is_json(message) else msgspec.msgpack.decode
    try:
        return decode(message.payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        what = str(error).splitlines()[0] if isinstance(error, msgspec.ValidationError) else type(error).__name__
        raise refuse(f"not a {kind.__name__}: {what}", hint="see the schemas in firmware_configs/reference") from None


def write_word(word: Struct, *, as_json: bool) -> bytes:
    """The struct's payload."""
    return _json.encode(word) if as_json else _pack.encode(word)


def is_json(message: Message) -> bool:
    """Whether the payload is JSON; msgpack otherwise."""
    # Publishers without MQTT 5 properties cannot say: an opening brace is no msgpack map of ours.
    return message.content_type == JSON or (not message.content_type and message.payload[:1] in {b"{", b"["})
