"""From bytes to a plain mapping, for every codec; a bad payload is a named error and nothing else."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from edge_agent.errors import PayloadMalformed, PayloadTooLarge
from edge_agent.limits import DEPTH_MAX, KEYS_MAX, PAYLOAD_BYTES_MAX

Fields = Mapping[str, Any]
Decode = Callable[[bytes, str, Mapping[str, str], str], Fields]

_json = msgspec.json.Decoder()
_msgpack = msgspec.msgpack.Decoder()

# MQTT 3.1.1 has no Content Type, but a map's first byte tells: no JSON text begins like a msgpack map, and what
# msgpack reads from an opening brace is a number.
_MSGPACK_MAPS = frozenset(bytes([first]) for first in (*range(0x80, 0x90), 0xDE, 0xDF))

ON, OFF = (
    frozenset({"on", "open", "home", "true", "detected"}),
    frozenset({"off", "closed", "not_home", "false", "clear"}),
)


def decode(codec: str, payload: bytes, content_type: str, properties: Sequence[tuple[str, str]], topic: str) -> Fields:
    """The payload as a mapping.

    Args:
        codec: one of the profile's codecs.
        content_type: MQTT 5 Content Type; msgpack wins over JSON where it says so.
        properties: MQTT 5 user properties (CloudEvents binary mode keeps its attributes there).

    Raises:
        PayloadTooLarge: more bytes, deeper nesting or more keys than the limits.
        PayloadMalformed: not what the codec says.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            f"{len(payload)} bytes; at most {PAYLOAD_BYTES_MAX}", hint="send smaller events, or several"
        )
    try:
        found = _CODECS[codec](payload, content_type, dict(properties) if properties else {}, topic)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PayloadMalformed(
            f"not {codec}: {type(error).__name__}", hint=f"publish valid {codec}, see docs/topics.md"
        ) from None
    if payload.count(b"{") + payload.count(b"[") > 1 or codec == "msgpack" or len(found) > KEYS_MAX:
        _bounded(found)
    return found


def _bounded(found: Fields) -> None:
    """Walks the value once, level by level."""
    level: list[Any] = [found]
    depth = seen = 0
    while level:
        depth += 1
        following: list[Any] = []
        for value in level:
            children = value.values() if isinstance(value, dict) else value
            seen += len(children)
            following.extend(child for child in children if isinstance(child, dict | list))
        if depth > DEPTH_MAX or seen > KEYS_MAX:
            raise PayloadTooLarge(
                f"nested deeper than {DEPTH_MAX} or more than {KEYS_MAX} entries",
                hint="send flat, small events",
            )
        level = following


def _mapping(value: Any) -> Fields:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    for key in value:
        if type(key) is not str:
            raise ValueError("keys must be text")
    return value


def _from_json(payload: bytes, content_type: str, _p: Mapping[str, str], _t: str) -> Fields:
    if content_type == "application/msgpack" or (not content_type and payload[:1] in _MSGPACK_MAPS):
        return _mapping(_msgpack.decode(payload))
    return _mapping(_json.decode(payload))


def _from_msgpack(payload: bytes, content_type: str, _p: Mapping[str, str], _t: str) -> Fields:
    if content_type == "application/json" or (not content_type and payload[:1] == b"{"):
        return _mapping(_json.decode(payload))
    return _mapping(_msgpack.decode(payload))


def _from_cloudevents(payload: bytes, content_type: str, properties: Mapping[str, str], _t: str) -> Fields:
    """Structured mode (`application/cloudevents+json`) or binary mode (attributes in user properties).

    Paths in a profile read the envelope: `id`, `time`, `data.…`.
    Source: CloudEvents MQTT Protocol Binding 1.0.2, sections 3.1 and 3.2.
    """
    if content_type.startswith("application/cloudevents") or "specversion" not in properties:
        envelope = dict(_mapping(_json.decode(payload)))
        if "specversion" not in envelope:
            raise ValueError("no specversion")
        return envelope
    data = _msgpack.decode(payload) if content_type == "application/msgpack" else _json.decode(payload)
    return {**properties, "data": data}


def _from_scalar(payload: bytes, _c: str, _p: Mapping[str, str], _t: str) -> Fields:
    text = payload.decode().strip()
    return {"value": _number_or_flag(text)}


def _from_home_assistant(payload: bytes, content_type: str, properties: Mapping[str, str], topic: str) -> Fields:
    """A state object `{"state", "attributes", "last_changed"}`, or the bare state of a statestream."""
    text = payload.decode().strip()
    if not text.startswith("{"):
        return {"state": _number_or_flag(text.strip('"')), "entity": _entity(topic)}
    found = dict(_from_json(payload, content_type, properties, topic))
    if isinstance(found.get("state"), str):
        found["state"] = _number_or_flag(found["state"])
    return {"entity": _entity(topic), **found}


def _from_zigbee2mqtt(payload: bytes, content_type: str, properties: Mapping[str, str], topic: str) -> Fields:
    """The device's flat state object; the device's friendly name is the topic's last level."""
    return {"device": topic.rsplit("/", 1)[-1], **_from_json(payload, content_type, properties, topic)}


def _entity(topic: str) -> str:
    levels = topic.split("/")
    return levels[-2] if levels[-1] == "state" and len(levels) > 1 else levels[-1]


def _number_or_flag(text: str) -> float | bool | str:
    try:
        number = float(text)
    except ValueError:
        low = text.lower()
        return True if low in ON else False if low in OFF else text
    return number if math.isfinite(number) else text


_CODECS: dict[str, Decode] = {
    "json": _from_json,
    "msgpack": _from_msgpack,
    "cloudevents": _from_cloudevents,
    "scalar": _from_scalar,
    "home-assistant": _from_home_assistant,
    "zigbee2mqtt": _from_zigbee2mqtt,
}


def at_path(found: Fields, path: Sequence[str]) -> Any:
    """The value at a dotted path, None when there is nothing."""
    value: Any = found
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value
