"""Valid payloads of every codec, and seeded damage to them."""

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
from msgspec import Struct

WORDS = ("on", "off", "open", "unavailable", "21.5", "-0", "nan", "inf", "1e999", "", " ", "\x00", "ß", "💡", "A" * 600)
NASTY_JSON = (
    "NaN", "-Infinity", "1e999", "-1e-999", "1" * 400, "-" + "9" * 30, "0x10", "01", "1.", "+1", "true", "null", "[]",
    "{}", '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '""', '"' + "é" * 700 + '"', "[" * 40 + "]" * 40,
    '{"a":' * 40 + "1" + "}" * 40, "[" + "1," * 700 + "1]", "1e308", "5e-324", "18446744073709551616", "2000-01-01",
    '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"', '"2026-02-30T25:61:00"', '{"": {"": {"": ""}}}',
)  # fmt: skip
NASTY_MSGPACK = (
    b"\xc0", b"\xc1", b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\x00" * 7,
    b"\xd6\xff\x00\x00\x00\x00", b"\xc7\x0c\xff" + b"\xff" * 12, b"\xdf\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff", b"\xc6\x00\x00\x00\x02\xff\xfe", b"\xa2\xff\xfe", b"\x91" * 900 + b"\xc0",
    b"\x81\xa1a" * 60, b"\x82\xa1a\x01\xa1a\x02", b"\x81\x01\x02", b"\x81\xc0\xc0",
    b"\x81\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\xa0",
    b"\xd4\x05\x00", b"\xca\xff\x80\x00\x00", b"\x80", b"\x90",
)  # fmt: skip
TYPES = (
    "",
    "application/json",
    "application/msgpack",
    "application/cloudevents+json",
    "text/plain",
    "\ud7ff",
    "a" * 300,
)
PAYLOAD_MAX = 300_000


class Sent(Struct, frozen=True, kw_only=True):
    """One message to a source."""

    source: str
    payload: bytes
    content_type: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    level: str = "x"
    """The last level of its topic."""


def _reading(dice: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "time": 1_800_000_000 + dice.choice([0, 0.25, 1, 7, -30, -4_000]),
        "who": f"u{number % 50}",
        "temperature": round(dice.uniform(-40, 60), 2),
        "place": {"lat": round(dice.uniform(-90, 90), 5)},
        "card": f"c{dice.randrange(1_000)}",
        "motion": dice.random() < 0.5,
        "seen": "2027-01-15T08:00:00Z",
    }


def _cloudevent(dice: random.Random, number: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"c{number}",
        "source": "/sensor",
        "type": "reading",
        "time": f"2027-01-15T08:0{number % 4}:00Z",
        "data": _reading(dice, number),
    }


def _home_assistant(dice: random.Random, number: int) -> bytes:
    state = dice.choice(["on", "21.5", "unavailable", str(number)])
    if dice.random() < 0.5:
        return state.encode()
    full = {"state": state, "attributes": {"unit": "°C"}, "last_changed": "2027-01-15T08:00:00+00:00"}
    return json.dumps(full).encode()


def valid(codec: str, dice: random.Random, number: int) -> Sent:
    """A payload that the source `codec` of the profile understands."""
    level = dice.choice(["state", "lamp", "temperature"])
    match codec:
        case "json":
            return Sent(source=codec, payload=json.dumps(_reading(dice, number)).encode())
        case "msgpack":
            return Sent(source=codec, payload=msgpack.packb(_reading(dice, number)))
        case "cloudevents" if dice.random() < 0.5:
            payload = json.dumps(_cloudevent(dice, number)).encode()
            return Sent(source=codec, payload=payload, content_type="application/cloudevents+json")
        case "cloudevents":
            attributes = {k: v for k, v in _cloudevent(dice, number).items() if k != "data"}
            packed = dice.random() < 0.5
            data = _reading(dice, number)
            return Sent(
                source=codec,
                payload=msgpack.packb(data) if packed else json.dumps(data).encode(),
                content_type="application/msgpack" if packed else "application/json",
                properties=tuple(attributes.items()),
            )
        case "scalar":
            return Sent(source=codec, payload=dice.choice(["21.5", "on", "-3", " 7 "]).encode(), level=level)
        case "home-assistant":
            return Sent(source=codec, payload=_home_assistant(dice, number), level=level)
        case _:
            lamp = {"brightness": dice.randrange(255), "state": "ON", "linkquality": 80}
            return Sent(source=codec, payload=json.dumps(lamp).encode(), level=level)


def _flip(raw: bytes, dice: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(dice.randrange(1, 5)):
        if changed:
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _cut(raw: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(raw) + 1)
    return raw[:start] + raw[start + dice.randrange(1, 20) :]


def _repeat(raw: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(raw) + 1)
    piece = raw[start : start + dice.randrange(1, 60)]
    return (raw[:start] + piece * dice.choice([2, 2, 3, 500]) + raw[start:])[:PAYLOAD_MAX]


def _insert(raw: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(raw) + 1)
    return raw[:at] + dice.randbytes(dice.randrange(1, 12)) + raw[at:]


def _end(raw: bytes, dice: random.Random) -> bytes:
    return raw[: dice.randrange(len(raw) + 1)]


def _noise(_raw: bytes, dice: random.Random) -> bytes:
    return dice.randbytes(dice.choice([0, 1, 2, 3, 8, 40, 300]))


def _word(_raw: bytes, dice: random.Random) -> bytes:
    return dice.choice(WORDS).encode()


def _nasty(raw: bytes, dice: random.Random) -> bytes:
    """A value of the document replaced by one that decoders and arithmetic stumble over; or all of it."""
    if raw[:1] != b"{":
        bad = dice.choice(NASTY_MSGPACK)
        values = [n for n in range(len(raw)) if raw[n] >= 0x80]
        if not values or dice.random() < 0.3:
            return bad
        at = dice.choice(values)
        return raw[:at] + bad + raw[at + dice.randrange(1, 10) :]
    document = json.loads(raw)
    where = document["data"] if isinstance(document.get("data"), dict) and dice.random() < 0.7 else document
    key = dice.choice(list(where))
    where[key] = "HERE"
    text = json.dumps(document).replace('"HERE"', dice.choice(NASTY_JSON), 1)
    if dice.random() < 0.2:  # the same key twice
        text = text.replace("{", f'{{"{key}": {dice.choice(NASTY_JSON)}, ', 1)
    return text.encode()


def _huge(_raw: bytes, dice: random.Random) -> bytes:
    return dice.choice([b"[", b"x", b"9", b'{"a":', b"\x91"]) * dice.choice([10_000, PAYLOAD_MAX])


def _double(raw: bytes, dice: random.Random) -> bytes:
    return struct.pack(">d", dice.uniform(-1e300, 1e300)) + raw


DEEDS: Sequence[tuple[Callable[[bytes, random.Random], bytes], float]] = (
    (_nasty, 14), (_flip, 4), (_cut, 3), (_repeat, 2), (_insert, 3), (_end, 2), (_noise, 1), (_word, 1), (_double, 0.5),
    (_huge, 0.02),
)  # fmt: skip


def damaged(sent: Sent, dice: random.Random) -> Sent:
    """The same message after one to three misfortunes; some reach its type and its properties, too."""
    payload = sent.payload
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        (deed,) = dice.choices([deed for deed, _ in DEEDS], [weight for _, weight in DEEDS])
        try:
            payload = deed(payload, dice)
        except (ValueError, IndexError, RecursionError):  # no document any more after the first: so it stays as it is
            break
    content_type, properties = sent.content_type, sent.properties
    if dice.random() < 0.1:
        content_type = dice.choice(TYPES)
    if dice.random() < 0.1:
        properties = (
            *properties[: dice.randrange(4)],
            (dice.choice(["specversion", "id", "time", ""]), dice.choice(WORDS)),
        )
    level = dice.choice(["", "state", "a" * 300, "💡"]) if dice.random() < 0.1 else sent.level
    return Sent(source=sent.source, payload=payload, content_type=content_type, properties=properties, level=level)
