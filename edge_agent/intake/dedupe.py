"""Which events were taken already: a window bounded in time and in number."""

from collections.abc import Iterable
from itertools import islice

from edge_agent.limits import EVICTED_SHARE

NUMBER = (1 << 60) - 1
"""The bits that are kept of an id: the largest number that takes Python 32 bytes. See `Dedupe`."""


class Dedupe:
    """Remembers ids in the order of their first sight.

    A second sight within the window is a duplicate. Beyond `entries_max` the oldest are forgotten first.

    Of an id only 60 bits are kept in memory, of Python's own keyed hash (SipHash, under a key that each process draws,
    PEP 456): half the memory. A new event is taken for an old one with a chance of entries / 2^60: of 100,000 ids,
    once in 10^13 events. Whole ids are in the store, and are numbered anew at each start.
    """

    def __init__(self, window_ms: int, entries_max: int) -> None:
        self.window_ms = window_ms
        self._max = entries_max
        self._seen: dict[int, int] = {}
        self._newest = (0, window_ms)
        """The last time that was asked for, and its expiry: one number in memory for all of a step's events."""

    def __len__(self) -> int:
        return len(self._seen)

    def restore(self, rows: Iterable[tuple[str, int]]) -> None:
        """Take up (id, expiry in unix ms) rows again, any order."""
        for key, expires_ms in sorted(rows, key=lambda row: row[1]):
            self._seen[hash(key) & NUMBER] = expires_ms

    def first(self, key: str, now_ms: int, settled_ms: int | None = None) -> bool:
        """True the first time within the window.

        Args:
            key: the event's id.
            now_ms: unix ms, from which the window is counted.
            settled_ms: unix ms, by which it ends; None: `now_ms`.
        """
        number = hash(key) & NUMBER
        expires = self._seen.get(number)
        if expires is not None and expires > (now_ms if settled_ms is None else settled_ms):
            return False
        if expires is not None:
            del self._seen[number]
        if self._newest[0] != now_ms:
            self._newest = (now_ms, now_ms + self.window_ms)
        self._seen[number] = self._newest[1]
        if len(self._seen) > self._max:
            self._forget_oldest()
        return True

    def _forget_oldest(self) -> None:
        """Many at once: a dict's first key is found by passing over all that were deleted before it."""
        for key in list(islice(self._seen, 1 + self._max // EVICTED_SHARE)):
            del self._seen[key]

    def sweep(self, now_ms: int) -> int:
        """Forget what is older than the window; returns how many."""
        old = []
        for key, expires in self._seen.items():
            if expires > now_ms:
                break
            old.append(key)
        for key in old:
            del self._seen[key]
        return len(old)
