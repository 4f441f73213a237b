"""Damaged payloads through the real `step`: nothing is raised, and each message is counted exactly once."""

import random
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from edge_agent.agent import Agent, step
from edge_agent.doors import Doors
from edge_agent.effects import Append, Effect
from edge_agent.happenings import Message
from firmware_configs.loader import parse
from tests.fuzz.damage import Sent, damaged, valid

CODECS = ("json", "msgpack", "cloudevents", "scalar", "home-assistant", "zigbee2mqtt")
NOW = 1_800_000_000_000
VALID_SHARE = 0.1
BATCH = 50
FATES = ("duplicates", "late", "dropped.consent", "shed")

_HEAD = """
schema = 1
name = "fuzz"
version = "1.0.0"
[device]
class = "fuzz"
fleet = "fuzz"
[[purpose]]
name = "fuzz"
legal_basis = "contract"
consent = "not-needed"
text = "Synthetic values of no person."
[retention]
"user.sensor" = { days = 1 }
[[placement]]
name = "place"
trigger = { kind = "event", source = "json", when = "fields.json_temperature > 20.0" }
purposes = ["fuzz"]
candidate = [{ item = "on" }, { item = "off" }]
[[placement.rule]]
name = "cold"
effect = "deny"
when = "fields.json_temperature > 1e6 && item == \'on\'"
reason = "too hot to be true"
[[egress]]
kind = "decision"
purposes = ["fuzz"]
bytes_day_max = 9_000_000_000
[[egress]]
kind = "late-event"
purposes = ["fuzz"]
bytes_day_max = 9_000_000_000
"""
_TRANSFORMS = {
    "temperature": ("number", '{ kind = "bucket", edges = [-10.0, 0.0, 10.0, 20.0] }'),
    "temperature_round": ("number", '{ kind = "round", step = 0.5 }'),
    "lat": ("number", '{ kind = "coarse-location", cell_degrees = 0.01 }'),
    "card": ("text", '{ kind = "keyed-hash", rotate_days = 7 }'),
    "motion": ("flag", '{ kind = "keep" }'),
    "seen": ("text", '{ kind = "truncate-time", to = "hour" }'),
    "when": ("number", '{ kind = "truncate-time", to = "minute" }'),
}
_PATHS = {"temperature_round": "temperature", "lat": "place.lat", "when": "time"}
_OWN = {
    "scalar": {"value": ("number", '{ kind = "keep" }')},
    "home-assistant": {
        "state": ("number", '{ kind = "round", step = 0.1 }'),
        "entity": ("text", '{ kind = "keep" }'),
        "changed": ("text", '{ kind = "truncate-time", to = "day" }'),
    },
    "zigbee2mqtt": {
        "brightness": ("number", '{ kind = "keep" }'),
        "device": ("text", '{ kind = "keyed-hash" }'),
        "state": ("text", '{ kind = "keep" }'),
    },
}


class Books(Struct, frozen=True, kw_only=True):
    """What became of the messages."""

    sent: int
    taken: int
    rejected: int
    other: int
    """Duplicates, late ones, and those that consent left nothing of."""
    by_code: dict[str, int]
    crashes: list[str]
    miscounted: list[str]


def _source(codec: str) -> str:
    inner = "data." if codec == "cloudevents" else ""
    keys = {"home-assistant": "", "zigbee2mqtt": "", "scalar": ""}.get(
        codec, f'\nevent_id = "id"\nsubject = "{inner}who"'
    )
    time = {"json": '\nevent_time = "time"\nlate = "side"', "msgpack": '\nevent_time = "time"\nlate = "drop"'}.get(
        codec, ""
    )
    if codec == "cloudevents":
        time = '\nevent_time = "time"\nevent_time_unit = "iso8601"\nlate = "drop"'
    lines = [f'[[source]]\nname = "{codec}"\ntopic = "fuzz/{codec}/#"\ncodec = "{codec}"{keys}{time}']
    prefix = codec.replace("-", "_")
    for name, (kind, transform) in _OWN.get(codec, _TRANSFORMS).items():
        path = {"changed": "last_changed"}.get(name, inner + _PATHS.get(name, name))
        lines.append(
            f'[[source.field]]\nname = "{prefix}_{name}"\npath = "{path}"\ntype = "{kind}"\n'
            f'category = "user.sensor"\npurposes = ["fuzz"]\ntransform = {transform}\n'
            f"required = {str(name == 'temperature').lower()}"
        )
    return "\n".join(lines)


PROFILE = _HEAD + "\n".join(_source(codec) for codec in CODECS)


def agent() -> Agent:
    """A fresh agent that keeps a journal, so that what it took can be counted."""
    doors = Doors(
        secret=b"s" * 32,
        recall=lambda _where, _key: None,
        models={},
        over_budget=lambda _decision, _ms: False,
        local_hour=lambda _ms: (12, 1),
    )
    return Agent(parse(PROFILE), "fuzz", doors, record=True)


def messages(seed: int, count: int) -> list[Sent]:
    """Seeded messages, one in ten of them as it should be."""
    dice = random.Random(seed)  # noqa: S311
    made = []
    for number in range(count):
        good = valid(CODECS[number % len(CODECS)], dice, number)
        made.append(good if dice.random() < VALID_SHARE else damaged(good, dice))
    return made


def run(seed: int, count: int) -> Books:
    """Send `count` messages through one agent, in batches; after a fault, the messages of its batch one by one."""
    own = agent()
    crashes: list[str] = []
    miscounted: list[str] = []
    taken = 0
    sent = messages(seed, count)
    for start in range(0, count, BATCH):
        group = sent[start : start + BATCH]
        before = Counter(own.counters)
        try:
            effects = step(own, [_message(one) for one in group], NOW)
        except Exception as error:  # noqa: BLE001 - the very thing that is looked for
            crashes.append(f"seed {seed}, {start}: {_culprit(group)}: {type(error).__name__}: {error}")
            continue
        took = _taken(effects)
        taken += took
        if (found := _fates(before, own) + took) != len(group):
            miscounted.append(f"seed {seed}, {start}: {len(group)} sent, {found} counted")
    counted = own.counters
    rejected = {name: number for name, number in counted.items() if name.startswith("rejected.")}
    return Books(
        sent=count,
        taken=taken,
        rejected=sum(rejected.values()),
        other=sum(counted.get(name, 0) for name in FATES),
        by_code=rejected,
        crashes=crashes,
        miscounted=miscounted,
    )


def _message(one: Sent) -> Message:
    return Message(
        topic=f"fuzz/{one.source}/{one.level}",
        payload=one.payload,
        content_type=one.content_type,
        properties=one.properties,
        arrived_ms=NOW,
    )


def _taken(effects: Sequence[Effect]) -> int:
    return sum(isinstance(effect, Append) and effect.shelf == "journal" for effect in effects)


def _fates(before: Counter[str], own: Agent) -> int:
    """Messages that were counted as something else than taken."""
    after = own.counters
    names = [name for name in after if name.startswith("rejected.") or name in FATES]
    return sum(after[name] - before[name] for name in names)


def _culprit(group: Sequence[Sent]) -> str:
    """The message that a fresh agent stumbles over, too."""
    for one in group:
        try:
            step(agent(), [_message(one)], NOW)
        except Exception:  # noqa: BLE001
            return repr(one)[:400]
    return "only together"
