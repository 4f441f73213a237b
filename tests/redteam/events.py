"""Poisoned events: somebody who may publish where a sensor publishes, and lies.

A home in memory lives through the same days twice, with and without the liar; what is compared is what was decided for
an honest person. What the liar may publish at all is the broker's to say (`--only snooping`).
"""

import json
from collections.abc import Callable, Iterator

from msgspec import Struct

from edge_agent.happenings import Message
from edge_agent.learn import examples
from tests.edge_agent.house import DEVICE, PERSON, House, bundle

HONEST = 30
TASTE = 6
"""Items that she really picks."""
LIES = 300
YEAR_S = 365 * 86_400
MALLORY = "mallory"


class Lie(Struct, frozen=True):
    """What one kind of lies came to."""

    lies: int
    rejected: int
    """By a named error, counted, and nothing else."""
    lost: int
    """Honest events that were not decided on."""
    changed: int
    """Honest decisions that choose another item."""
    learned: float
    """Share of items that she never picked among what would be learned from her."""


def room(house: House, number: int, **fields: object) -> Message:
    """A reading that is no reading."""
    raw = {"id": f"lie-{number}", "time": house.now / 1_000, **fields}
    return house.message(f"home/{DEVICE}/room", json.dumps(raw).encode(), content_type="application/json")


def beyond_measure(house: House, number: int) -> Message:
    """Numbers and times that no sensor has."""
    values: tuple[object, ...] = (1e308, -1e308, "NaN", True, [1], {"a": 1}, None, "9" * 400)
    light = values[number % len(values)]
    time = house.now / 1_000 + (YEAR_S if number % 2 else -YEAR_S)
    return room(house, number, temperature=21.0, humidity=30.0, light=light, co2=800.0, time=time)


def others_names(house: House, number: int) -> Message:
    """A crowd of people who are not there, agree to everything, and have a taste."""
    house.consent(f"{MALLORY}-{number}", "personalise", "improve-models")
    return house.pick(10_000 + number, bundle("affinity").catalogue[number % 3], user=f"{MALLORY}-{number}")


def torn(house: House, number: int) -> Message:
    """What is no payload at all."""
    raw = (b"", b"{", b"\xff" * 40, b"[" * 400, b'{"id": ' + b"9" * 500 + b"}")[number % 5]
    return house.message(f"home/{DEVICE}/interaction", raw)


def in_her_name(house: House, number: int) -> Message:
    """Picks that she never made, each of another item."""
    catalogue = bundle("affinity").catalogue
    return house.pick(20_000 + number, catalogue[number % len(catalogue)])


def one_item_in_her_name(house: House, number: int) -> Message:
    """One item that she never picked, again and again: a repeated pick says nothing new to the learner."""
    return house.pick(20_000 + number, bundle("affinity").catalogue[-1])


def ids_to_come(house: House, number: int) -> Message:
    """Events under the ids that her next events will have: the honest ones then count as repeated."""
    return house.pick(number % HONEST, bundle("affinity").catalogue[-1])


LIES_TOLD: dict[str, Callable[[House, int], Message]] = {
    "numbers and times beyond measure": beyond_measure,
    "a crowd of strangers": others_names,
    "torn payloads": torn,
    "picks in her name": in_her_name,
    "one item in her name": one_item_in_her_name,
    "the ids of events to come": ids_to_come,
}


def honest(house: House, lie: Callable[[House, int], Message] | None) -> Iterator[tuple[str, ...]]:
    """What is decided for her, event by event; before each come lies."""
    house.everyone_agrees()
    for number in range(HONEST):
        house.now += 60_000
        if lie is not None:
            for one in range(number * LIES // HONEST, (number + 1) * LIES // HONEST):
                house.tell(lie(house, one))
        before = len(house.sent)
        house.tell(house.pick(number, bundle("affinity").catalogue[number % TASTE]))
        made = house.decisions() if len(house.sent) > before else []
        yield tuple(made[-1].items) if made else ()


def told(lie: Callable[[House, int], Message], truth: list[tuple[str, ...]]) -> Lie:
    """One kind of lies."""
    house = House()
    found = list(honest(house, lie))
    counters = house.agent.counters
    rejected = sum(count for name, count in counters.items() if name.startswith("rejected."))
    lost = sum(one == () for one in found)
    changed = sum(one not in ((), true) for one, true in zip(found, truth, strict=True))
    rows = [row for row in house.shelves.values() if row.shelf == "example" and row.subject == PERSON]
    liked = set(bundle("affinity").catalogue[:TASTE])
    lies = sum(examples.unpack(row.value).item not in liked for row in rows)
    return Lie(LIES, rejected, lost, changed, round(lies / max(1, len(rows)), 3))


def attack() -> dict[str, Lie]:
    """Every kind of lies, against the same days without any."""
    truth = list(honest(House(), None))
    return {name: told(lie, truth) for name, lie in LIES_TOLD.items()}
