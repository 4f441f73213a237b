"""CloudEvents attributes of a decision, as MQTT 5 user properties beside the payload (binary mode).

Source: CloudEvents 1.0.2, and its MQTT protocol binding 1.0.2, section 3.1.
"""

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from firmware_configs.messages import JSON, ROOT

TYPE = "edgeward.decision.v1"
TAKEN_BACK = "edgeward.retraction.v1"


class _Told(Struct):
    """What the attributes say; the rest of a decision stays in its payload."""

    id: str
    decided_ms: int = 0
    retracted: str = ""


def attributes(device: str, payload: bytes, content_type: str) -> tuple[tuple[str, str], ...]:
    """The attributes; none for what is no decision in words, such as an actuator's command.

    Nothing personal is in them: whom a decision is about stands in the payload alone.
    """
    decode = msgspec.json.decode if content_type == JSON else msgspec.msgpack.decode
    try:
        told = decode(payload, type=_Told)
        at = datetime.fromtimestamp(told.decided_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError, OSError):
        return ()
    return (
        ("specversion", "1.0"),
        ("id", f"{told.id}-retracted" if told.retracted else told.id),
        ("source", f"/{ROOT}/{device}"),
        ("type", TAKEN_BACK if told.retracted else TYPE),
        ("time", at.replace("+00:00", "Z")),
    )
