"""What happens around one virtual device in one day: a function of the seed, the device and the day, and nothing else.

So a device can be lived in one stretch or in many, by any process, and comes out the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.virtual.cohort import Cohort, Touched
from firmware_configs.profile import Profile, Source
from firmware_configs.virtual import DAY_MS, HOUR_MS, HOURS, Behaviour, Events, Flag, Normal, Taste, Word

I64 = NDArray[np.int64]
PEOPLE, DAY, ANSWER, ATTACK, SECRET = range(5)
"""What a draw is for: no two draws share a seed."""
ZIPF = 1.0
"""How much more often the first item of a group is picked than the second: places to the power of this."""


def dice(seed: int, device: int, purpose: int, *more: int) -> np.random.Generator:
    """The draws of one device for one purpose."""
    return np.random.default_rng((seed, device, purpose, *more))


class Happens(NamedTuple):
    """One event, as it arrives."""

    at_ms: int
    source: int
    """Which of the behaviour's events."""
    payload: bytes


class Person(NamedTuple):
    """Someone who lives with a device."""

    name: str
    agrees: bool
    taste: int
    later: int
    """The taste from the drift on."""
    touched: Touched | None = None
    """What they did, where they are of a cohort; then the tastes say nothing."""


class Surroundings:
    """What is the same for all devices: sources, items and their groups."""

    def __init__(
        self,
        behaviour: Behaviour,
        profile: Profile,
        items: Sequence[str],
        seed: int,
        start_ms: int,
        cohort: Cohort | None = None,
    ) -> None:
        """Set up.

        Args:
            items: that people pick from.
            cohort: whose people live with the devices; None: they are drawn.
        """
        self.behaviour, self.items, self.seed, self.start_ms = behaviour, items, seed, start_ms
        self._cohort = cohort
        self.turns_ms = start_ms + int(behaviour.drift.after_hours * HOUR_MS)
        sources = {source.name: source for source in profile.source}
        self.sources = [sources[events.source] for events in behaviour.event]
        self.hours = [_shares(events.hours) for events in behaviour.event]
        groups = behaviour.people.tastes
        self.group = {item: number % groups for number, item in enumerate(items)}
        numbers = np.arange(len(items))
        self._of_group = [numbers[numbers % groups == group] for group in range(groups)]
        self._falling = [np.cumsum(_falling(len(own))) for own in self._of_group]
        self._all = np.cumsum(_falling(len(items)))
        self._paths = [_paths(source) for source in self.sources]

    def people(self, device: int) -> list[Person]:
        """Who lives with a device."""
        asked, drift = self.behaviour.people, self.behaviour.drift
        draws = dice(self.seed, device, PEOPLE).random((asked.count, 4))
        found = []
        for number, (agrees, taste, turns, other) in enumerate(draws.tolist()):
            first = int(taste * asked.tastes)
            later = (first + 1 + int(other * (asked.tastes - 1))) % asked.tastes if turns < drift.share else first
            found.append(Person(f"p{number}", agrees < asked.consent, first, later))
        if self._cohort is None:
            return found
        own = zip(found, self._cohort.living_with(device, asked.count), strict=True)
        return [person._replace(name=touched.name, touched=touched) for person, touched in own]

    def taste(self, person: Person, at_ms: int) -> int:
        """What a person likes at a moment."""
        return person.later if at_ms >= self.turns_ms else person.taste

    def likes(self, person: Person, item: str, at_ms: int) -> bool:
        """Whether an item is to somebody's taste: of the own group, or one that a person of a cohort touches."""
        if person.touched is not None:
            return item in person.touched.own
        return self.group.get(item) == self.taste(person, at_ms)

    def events(self, device: int, people: Sequence[Person], from_ms: int, until_ms: int) -> list[Happens]:
        """All events of [from_ms, until_ms), in the order in which they come."""
        found: list[Happens] = []
        for day in range((from_ms - self.start_ms) // DAY_MS, (until_ms - 1 - self.start_ms) // DAY_MS + 1):
            found += [one for one in self._day(device, people, day) if from_ms <= one.at_ms < until_ms]
        return found

    def _day(self, device: int, people: Sequence[Person], day: int) -> list[Happens]:
        draw = dice(self.seed, device, DAY, day)
        began = self.start_ms + day * DAY_MS
        found: list[Happens] = []
        for number, events in enumerate(self.behaviour.event):
            if self._cohort is not None and events.picks:
                found += self._of_cohort(number, events, people, day, draw)
                continue
            count = int(draw.poisson(events.per_day))
            hours = np.searchsorted(self.hours[number], draw.random(count), side="right")
            at = began + hours * HOUR_MS + draw.integers(0, HOUR_MS, count)
            at.sort()
            found += self._of_source(number, events, people, at.tolist(), f"{day}", draw)
        found.sort()
        return found

    def _of_cohort(
        self, number: int, events: Events, people: Sequence[Person], day: int, draw: np.random.Generator
    ) -> Iterator[Happens]:
        """What people of a cohort touch on a day."""
        began = self.start_ms + day * DAY_MS
        touched = [
            (at_ms, n, item)
            for n, person in enumerate(people)
            if person.touched is not None
            for at_ms, item in person.touched.between(began, began + DAY_MS)
        ]
        touched.sort()
        at, whose, items = ([one[n] for one in touched] for n in range(3))
        return self._of_source(number, events, people, at, f"{day}", draw, whose, items)  # type: ignore[arg-type]

    def _of_source(
        self,
        number: int,
        events: Events,
        people: Sequence[Person],
        at: Sequence[int],
        day: str,
        draw: np.random.Generator,
        whose: Sequence[int] | None = None,
        items: Sequence[str] = (),
    ) -> Iterator[Happens]:
        """Events at given moments; `whose` and `items`: as a cohort has it, instead of drawn."""
        source, paths = self.sources[number], self._paths[number]
        given = whose is not None
        if whose is None:
            whose = draw.integers(0, len(people), len(at)).tolist() if source.subject else [0] * len(at)
        columns = {
            name: list(items) if given and isinstance(value, Taste) else self._column(value, len(at), draw)
            for name, value in events.fields.items()
        }
        for n, at_ms in enumerate(at):
            person = people[whose[n]]
            word: dict[str, Any] = {}
            for name, column in columns.items():
                value = column[n]
                if type(value) is tuple:
                    value = self._pick(self.taste(person, at_ms), *value)
                word[paths[name]] = value
            if source.event_id:
                word[source.event_id] = f"{day}-{n}"
            if source.event_time:
                word[source.event_time] = _told(source, at_ms)
            if source.subject:
                word[source.subject] = person.name
            yield Happens(at_ms, number, msgspec.json.encode(word))

    def _column(self, value: Taste | Normal | Flag | Word, count: int, draw: np.random.Generator) -> list[Any]:
        match value:
            case Taste():
                return list(map(tuple, draw.random((count, 2)).tolist()))
            case Normal(mean=mean, deviation=deviation):
                return [round(one, 3) for one in draw.normal(mean, deviation, count).tolist()]
            case Flag(share=share):
                return [one < share for one in draw.random(count).tolist()]
            case Word(words=words):
                return [words[n] for n in draw.integers(0, len(words), count).tolist()]

    def _pick(self, taste: int, own: float, which: float) -> str:
        """An item by two uniform numbers."""
        if own < self.behaviour.people.focus and len(self._of_group[taste]):
            return self.items[int(self._of_group[taste][np.searchsorted(self._falling[taste], which, side="right")])]
        return self.items[int(np.searchsorted(self._all, which, side="right"))]


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    """Weights of hours as a distribution, summed up; the last is 1."""
    whole = np.cumsum(np.asarray(weights, np.float64))
    shares: NDArray[np.float64] = whole / whole[-1] if whole[-1] > 0.0 else np.arange(1, HOURS + 1) / HOURS
    return shares


def _falling(count: int) -> NDArray[np.float64]:
    weights = np.asarray(1.0 / np.arange(1, count + 1) ** ZIPF, np.float64)
    shares: NDArray[np.float64] = weights / weights.sum() if count else weights
    # What rounding leaves open at the top belongs to the last one.
    if count:
        shares[-1] += 1.0
    return shares


def _paths(source: Source) -> Mapping[str, str]:
    return {field.name: field.path or field.name for field in source.field}


def _told(source: Source, at_ms: int) -> float | int | str:
    if source.event_time_unit == "ms":
        return at_ms
    if source.event_time_unit == "s":
        return at_ms / 1_000
    return str(np.datetime64(at_ms, "ms")) + "Z"
