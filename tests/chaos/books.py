"""After the week: is every event that the broker took decided once, and is every byte that left entered before?"""

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Container
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.decide import decision
from edge_agent.shell import database
from firmware_configs import ledger, ledger_evidence, ledger_record, ledger_reserve
from tests.chaos.door import COUNTS
from tests.chaos.fleet import Fleet
from tests.chaos.people import People


class Events(Struct, frozen=True, kw_only=True):
    """What became of the events."""

    events: int
    acknowledged: int
    """Of them, those that the broker took: its acknowledgement came."""
    lost: int
    """Acknowledged, and nobody decided about them."""
    repeated: int
    """Events with more than one decision."""
    unheard: int
    """Decided on a device, and the decision never came."""
    redelivered: int
    """Messages that came again with the same id."""
    fallbacks: int
    """Decisions without the model."""
    left_with_the_dead: int
    """Acknowledged, and the broker keeps them for a device that never starts again; not among the lost."""


class Bytes(Struct, frozen=True, kw_only=True):
    """What left all devices."""

    declared: int
    """Payload bytes at the broker's address that the ledgers have, each message as often as it was sent."""
    undeclared: int
    undeclared_messages: int
    cut: int
    """Of messages that were never whole."""
    around: int
    """MQTT around payloads."""
    updates: int
    """Of the declared ones, what learners said to the SuperLink, where TLS ends."""
    envelope: int
    """Flower's calls around that."""
    registry: int
    superlink: int
    """Bytes of TLS connections to these."""
    elsewhere: int
    broken_chains: int


def events(people: People, states: list[Path], dead: Container[int]) -> Events:
    """Hold what people said and heard to what the devices have in their databases.

    Args:
        dead: numbers of the events that were said to a device while it died.
    """
    ids: defaultdict[int, set[str]] = defaultdict(set)
    for state in states:
        for identity, about in decided(state):
            ids[int(about.rpartition(":e")[2])].add(identity)
    unheard = sum(not kept <= people.heard.get(number, set()) for number, kept in ids.items() if number not in dead)
    for number, heard in people.heard.items():
        ids[number] |= heard
    undecided = people.acknowledged - ids.keys()
    left = sum(number in dead for number in undecided)
    return Events(
        events=people.sent,
        acknowledged=len(people.acknowledged),
        lost=len(undecided) - left,
        repeated=sum(len(found) > 1 for found in ids.values()),
        unheard=unheard,
        redelivered=sum(times - 1 for times in people.messages.values()),
        fallbacks=people.fallbacks,
        left_with_the_dead=left,
    )


def decided(state: Path) -> list[tuple[str, str]]:
    """(decision's id, event's id) of what a device has in its database."""
    with contextlib.closing(sqlite3.connect(f"file:{state / database.FILE}?mode=ro", uri=True, timeout=5)) as reader:
        rows = reader.execute("SELECT id, value FROM shelf WHERE shelf = 'decision'").fetchall()
    return [(identity, decision.unpack(value).event_id) for identity, value in rows]


def beside(state: Path) -> int:
    """Rows of a device's ledger that its database has not taken."""
    held, _ = ledger_reserve.unpack((state / ledger_reserve.FILE).read_bytes())
    with contextlib.closing(sqlite3.connect(f"file:{state / database.FILE}?mode=ro", uri=True, timeout=5)) as reader:
        (newest,) = reader.execute("SELECT coalesce(max(seq), 0) FROM ledger").fetchone()
    return sum(number > newest for number in held)


def told(records: Path, fleet: Fleet, sent: dict[str, dict[str, int]]) -> tuple[Bytes, list[str]]:
    """Hold what left each device to its ledger.

    Args:
        records: folder with a record for each device, as the router leaves it.
        fleet: its door has left a record for each learner's node.
        sent: device → where to → bytes besides the payloads, as the router counted.
    Returns:
        The sums, and the first undeclared messages in words.
    """
    declared = undeclared = messages = broken = 0
    words: list[str] = []
    for device in fleet.devices:
        evidence = ledger_evidence.read(fleet.state_of(device))
        record = ledger_record.read_record(records / f"{device}.jsonl")
        heard = fleet.heard / f"{fleet.nodes.get(device)}.jsonl"
        record += ledger_record.read_record(heard) if heard.exists() else []
        found = ledger_record.reconcile(evidence, record)
        declared += sum(one.bytes for one in record) - found.undeclared_bytes
        undeclared += found.undeclared_bytes
        messages += len(found.undeclared)
        words += [f"{device}: {one.bytes} bytes on {one.topic or one.destination}" for one in found.undeclared]
        rows = [ledger.unpack(one) for one in evidence.rows]
        broken += ledger.first_break(rows, evidence.pruned.head) is not None
    ways = ("cut", "broker", "registry", "superlink", "elsewhere")
    sums = {name: sum(one.get(name, 0) for one in sent.values()) for name in ways}
    door = msgspec.json.decode((fleet.heard / COUNTS).read_bytes(), type=dict[str, int])
    return Bytes(
        declared=declared,
        undeclared=undeclared,
        undeclared_messages=messages,
        cut=sums["cut"] + door["cut"],
        around=sums["broker"],
        updates=door["updates"],
        envelope=door["around"],
        superlink=sums["superlink"],
        registry=sums["registry"],
        elsewhere=sums["elsewhere"],
        broken_chains=broken,
    ), words[:20]
