"""What each broker carries of what the agent uses. The suite runs what is carried; `docs/brokers.md` shows the rest.

`python -m tests.conformance` writes that page again.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from tests.conformance.brokers import MOSQUITTO, NAMES

VERSIONS = ("5", "3.1.1")


class Feature(Struct, frozen=True):
    """One thing that the agent does with a broker.

    Attributes:
        words: what holds where it is carried, as `docs/brokers.md` says it.
        lacks: broker, or broker/version, → why it is not carried there.
        versions: in which versions of MQTT there is such a thing at all.
    """

    words: str
    lacks: dict[str, str] = {}
    versions: tuple[str, ...] = VERSIONS

    def lack(self, broker: str, version: str) -> str:
        """Why this broker does not carry it in this version; empty: it does."""
        if version not in SPEAKS[broker]:
            return f"{broker} does not speak MQTT {version}"
        return self.lacks.get(f"{broker}/{version}", self.lacks.get(broker, ""))


SPEAKS = {"mosquitto": VERSIONS, "iotcore": VERSIONS, "amqtt": ("3.1.1",)}
PRODUCTS = {
    "mosquitto": "Eclipse mosquitto 2.0.11 (Debian)",
    "iotcore": "iotcore 0.4 (rumqttd 0.20), the embedded broker",
    "amqtt": "aMQTT 0.12",
}

FEATURES = {
    "qos": Feature("events of sources with QoS 0, 1 and 2, published at QoS 0, 1 and 2, are each decided once"),
    "publishers": Feature("the same for mosquitto_pub, a publisher of another make"),
    "flood": Feature("300 events that are published at QoS 2 as fast as it goes are each decided once"),
    "mixed": Feature(
        "publishers and listeners of the other version of MQTT are served",
        {
            "iotcore": "its 3.1.1 listener dies, for all clients, of a message with MQTT 5 properties",
            "amqtt": "it speaks MQTT 3.1.1 only",
        },
    ),
    "session": Feature("events that came while the agent was away are decided when it is back"),
    "kill": Feature(
        "events published at QoS 2 are each decided once although the agent is killed with SIGKILL",
        {"amqtt": "it loses what was on its way to a client that vanishes"},
    ),
    "restart": Feature("after the broker's restart the agent subscribes again and goes on"),
    "retained": Feature("a retained event that comes again with each subscription is decided once"),
    "shared": Feature(
        "agents that share a subscription decide each event once among them",
        {"iotcore/3.1.1": "it shares subscriptions under MQTT 5 only", "amqtt": "it has no shared subscriptions"},
    ),
    "wildcards": Feature("`+` and `#` in a source's topic"),
    "request": Feature("a request is answered on its Response Topic with its Correlation Data", versions=("5",)),
    "reply": Feature("a request that names its reply topic in the payload is answered there in its own format"),
    "properties": Feature(
        "Content Type, trace context and the CloudEvents binary mode come through in both directions", versions=("5",)
    ),
    "large": Feature("a payload up to the agent's limit is decided, one above it is rejected by name, the line stays"),
    "limit": Feature(
        "a message that is larger than the broker takes is given up by name, and the rest goes on",
        {"amqtt": "it takes messages of any size"},
    ),
    "expiry": Feature("a decision that has expired is not sent, and what is sent says how long it is good for"),
    "will": Feature("the last will tells that the agent is gone, after a stop and after a crash"),
    "tls": Feature("TLS with a client certificate; a broker that is not trusted is named"),
    "certificates": Feature(
        "without a client certificate the fault says what is wanted",
        {
            "iotcore": "its build does not ask for client certificates",
            "amqtt": "it asks for client certificates and lets in who has none",
        },
    ),
    "websocket": Feature("WebSockets", {"iotcore/5": "its WebSocket listener speaks MQTT 3.1.1 only"}),
    "secure-websocket": Feature("WebSockets over TLS", {"iotcore/5": "its WebSocket listener speaks MQTT 3.1.1 only"}),
    "password": Feature("a wrong password is named, and the right one is used as soon as it is in the file"),
    "access": Feature(
        "what the access list forbids is named, and the rest goes on",
        {
            "iotcore": "it has no access lists",
            "amqtt": "it has no access list for topics but as a plugin",
        },
    ),
    "taken-over": Feature(
        "two agents with the same id are told that they are two", {"amqtt": "it does not throw the older one out"}
    ),
    "aliases": Feature("topics are sent as numbers once the broker knows them", versions=("5",)),
}


def missing(broker: str) -> str:
    """Why this broker cannot be run here; empty: it can."""
    there = Path(MOSQUITTO).exists() if broker == "mosquitto" else importlib.util.find_spec(broker) is not None
    return "" if there else f"{broker} is not installed (make setup-dev)"


def runs(name: str, *, slow: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test at each broker, in each version, that carries the feature; the others are skipped with the reason.

    Args:
        slow: cases such as `mosquitto-5` that only `make conformance` runs.
    """
    feature = FEATURES[name]
    cases = []
    for broker in NAMES:
        for version in feature.versions:
            why = feature.lack(broker, version)
            why = why or missing(broker)
            case = f"{broker}-{version}"
            marks = [pytest.mark.skip(reason=why)] if why else []
            if case in slow:
                marks.append(pytest.mark.slow)
            cases.append(pytest.param(broker, version, marks=marks, id=case))
    return pytest.mark.parametrize(("broker_name", "version"), cases)


def page() -> str:
    """docs/brokers.md."""
    lines = [
        "# Brokers",
        "",
        "What the agent does with each broker, as `tests/conformance/` runs it. This page is written by",
        "`python -m tests.conformance` from `tests/conformance/table.py`, and a test compares the two.",
        "",
        *(f"- **{name}**: {PRODUCTS[name]}; MQTT {' and '.join(SPEAKS[name])}" for name in NAMES),
        "",
        "| what | " + " | ".join(NAMES) + " |",
        "|---|" + "---|" * len(NAMES),
    ]
    notes: list[str] = []
    for feature in FEATURES.values():
        cells = [_cell(feature, name, notes) for name in NAMES]
        lines.append(f"| {feature.words} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{n}. {note}" for n, note in enumerate(notes, 1)), "", *ADVICE.splitlines()]
    return "\n".join(lines) + "\n"


def _cell(feature: Feature, broker: str, notes: list[str]) -> str:
    told = []
    for version in feature.versions:
        why = feature.lack(broker, version)
        if not why:
            told.append(version)
        elif version in SPEAKS[broker]:
            if why not in notes:
                notes.append(why)
            told.append(f"{version}: no ({notes.index(why) + 1})")
    return ", ".join(told) or "no"


ADVICE = """## Which broker

Fleets use mosquitto, or another broker that is run for long:
`docs/adr/0009-the-embedded-broker-is-for-one-machine.md` says what the embedded one is good for.

`edge-coordinator up` puts a door before the embedded broker: clients of MQTT 5 and of 3.1.1 come in at one port, and
hear each other. The table is of the broker without it. A client of an older MQTT, or of something else, is refused with
a CONNACK that says so.

## MQTT 5 and 3.1.1

`broker.protocol = "auto"` speaks MQTT 5 and, where the broker does not, says so once and goes on with 3.1.1. There the
agent does the same with less help:

- There are no properties. JSON and msgpack are told from each other by a payload's first byte; CloudEvents come in
  structured mode; trace context does not travel outside the payload.
- A request names `reply_to`, and `correlation` if it wants one, in its payload. The answer comes there, in the
  request's own format, with the correlation in it.
- Nothing says how long a message is good for. The agent sends no decision that has expired, and what waits at the
  broker waits until it is fetched.
- The broker cannot be told how much may be on its way to the agent, nor how large. Give it a limit of its own
  (mosquitto: `max_inflight_messages`, `message_size_limit 262144`); the agent reads no faster than it commits.
- A refused message is acknowledged, or the connection is closed, and nothing says why. A message on which the broker
  hangs up three times in a row, sent alone, is given up by name.
- A live event does not say that the broker retains it. One without an id, on a topic where nothing was retained when
  the agent subscribed, is decided once more after the agent's next restart.
- Topic names are sent whole, and what the broker keeps for an absent device is bounded by the broker alone.

## QoS 2

A source with `qos = 2` is subscribed at QoS 1, and each event is decided once all the same:
`docs/adr/0015-qos-2-is-received-as-qos-1.md` says why."""
