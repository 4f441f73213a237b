"""The examples of the rules: fragments of TOML, laid over a small profile that is in order.

A fragment names only what it changes. Tables are merged key by key; entries of a list of tables are merged with the
entry of the same `name` (of an egress: of the same `kind`), and added where there is none.
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

FRAGMENTS = Path(__file__).parent / "fragments"

BASE = """
schema = 1
name = "example"
version = "1.0.0"

[device]
class = "gateway"
fleet = "homes"

[controller]
name = "Example homes"
contact = "privacy@example.org"

[people]
groups = ["people of the household"]
children = "none"

[[purpose]]
name = "comfort"
legal_basis = "consent"
consent = "required"
text = "The gateway reads the air of the room and switches the fan. Nothing of it is sent away."

[[purpose]]
name = "improve-models"
legal_basis = "consent"
consent = "required"
text = "The gateway sends small numbers that say how the model should change. It does not send what was measured."

[[purpose]]
name = "operate"
legal_basis = "legitimate-interests"
consent = "not-needed"
text = "The gateway says whether it is running. It says nothing about people."

[[source]]
name = "room"
topic = "home/{device}/room"

[[source.field]]
name = "co2"
category = "user.sensor"
purposes = ["comfort", "improve-models"]
transform = { kind = "round", step = 25.0 }

[retention]
"user.sensor" = { days = 7 }

[[placement]]
name = "fan"
trigger = { kind = "event", source = "room" }
purposes = ["comfort"]
actuator = "fan"
fallback = "off"

[[placement.candidate]]
item = "on"
score = "0.6"

[[placement.candidate]]
item = "off"
score = "0.5"

[[placement.rule]]
name = "air-is-good"
when = "item == 'on' && fields.co2 < 600.0"
effect = "deny"
reason = "The air is good."

[[actuator]]
name = "fan"
topic = "home/{device}/fan/set"
payloads = { on = "ON", off = "OFF" }
per_minute_max = 2

[[actuator.limit]]
name = "not-at-night"
never = "item == 'on' && (hour < 6 || hour > 22)"
reason = "Nobody wants the fan at night."

[[egress]]
kind = "decision"
purposes = ["comfort"]
bytes_day_max = 1_000_000

[[egress]]
kind = "status"
purposes = ["operate"]
bytes_day_max = 1_000_000

[sensitive]
forbidden_categories = ["user.health_and_medical", "user.biometric"]
forbidden_purposes = ["advertising"]
"""


class Example(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What breaks a rule, and the same mended."""

    failing: str
    passing: str


def laid_over(fragment: str, base: str = BASE) -> dict[str, Any]:
    """The base with the fragment laid over it, as a document."""
    document = tomllib.loads(base)
    _merge(document, tomllib.loads(fragment))
    return document


def _merge(into: dict[str, Any], given: dict[str, Any]) -> None:
    for key, value in given.items():
        held = into.get(key)
        if isinstance(held, dict) and isinstance(value, dict) and "kind" not in value:
            _merge(held, value)
        elif isinstance(held, list) and value and isinstance(value, list) and isinstance(value[0], dict):
            for entry in value:
                _merge_entry(held, entry)
        else:
            into[key] = value


def _merge_entry(held: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    name = _name(entry)
    for one in held:
        if name is not None and _name(one) == name:
            _merge(one, entry)
            return
    held.append(entry)


def _name(entry: dict[str, Any]) -> Any:
    return next((entry[key] for key in ("name", "item", "kind") if key in entry), None)


def of(code: str) -> Example:
    """The example of a rule.

    Raises:
        KeyError: there is no such rule.
    """
    path = FRAGMENTS / f"{code}.toml"
    if not path.exists():
        raise KeyError(code)
    return msgspec.toml.decode(path.read_bytes(), type=Example)
