"""People of a cohort in place of drawn ones: what each touched and when, dealt out to the devices.

Everybody's times are moved by whole weeks, so that the first falls into the first seven days of the simulation: hours
and days of the week stay what they were.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from firmware_configs.virtual import DAY_MS
from models.datasets import Rating

WEEK_MS = 7 * DAY_MS


class Touched(NamedTuple):
    """One person of the cohort."""

    name: str
    at_ms: tuple[int, ...]
    """Unix ms, rising."""
    items: tuple[str, ...]
    """One for each of them."""
    own: frozenset[str]
    """All of these items: what this person likes."""

    def between(self, from_ms: int, until_ms: int) -> Iterable[tuple[int, str]]:
        """When and what, in [from_ms, until_ms)."""
        places = range(bisect_left(self.at_ms, from_ms), bisect_left(self.at_ms, until_ms))
        return [(self.at_ms[place], self.items[place]) for place in places]


class Cohort:
    """All of them."""

    def __init__(self, rows: Iterable[Rating], start_ms: int) -> None:
        """Sort what people touched.

        Args:
            start_ms: of the simulation, unix ms.
        """
        found: dict[str, list[tuple[int, str]]] = {}
        for row in rows:
            found.setdefault(row.user, []).append((int(row.time * 1_000), row.item))
        self.people: Sequence[Touched] = [_moved(name, sorted(own), start_ms) for name, own in sorted(found.items())]

    def living_with(self, device: int, count: int) -> list[Touched]:
        """Who lives with a device. Where there are more places than people, they are dealt out again."""
        first = device * count
        return [self.people[(first + n) % len(self.people)] for n in range(count)]


def _moved(name: str, touched: Sequence[tuple[int, str]], start_ms: int) -> Touched:
    by_ms = (touched[0][0] - start_ms) // WEEK_MS * WEEK_MS
    items = tuple(item for _, item in touched)
    return Touched(name, tuple(at - by_ms for at, _ in touched), items, frozenset(items))
