"""Which events were taken already: a window bounded in time and in number."""

from collections.abc import Iterable
from itertools import islice

from edge_agent.limits import EVICTED_SHARE


class Dedupe:
    """Remembers ids in the order of their first sight.

    A second sight within the window is a duplicate. Beyond `entries_max` the oldest are forgotten first.
    """

    def __init__(self, window_ms: int, entries_max: int) -> None:
        self.window_ms = window_ms
        self._max = entries_max
        self._seen: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def restore(self, rows: Iterable[tuple[str, int]]) -> None:
        """Take up (id, expiry in unix ms) rows again, any order."""
        for key, expires_ms in sorted(rows, key=lambda row: row[1]):
            self._seen[key] = expires_ms

    def first(self, key: str, now_ms: int, settled_ms: int | None = None) -> bool:
        """True the first time within the window.

        Args:
            key: the event's id.
            now_ms: unix ms, from which the window is counted.
            settled_ms: unix ms, by which it ends; None: `now_ms`.
        """
        expires = self._seen.get(key)
        if expires is not None and expires > (now_ms if settled_ms is None else settled_ms):
            return False
        if expires is not None:
            del self._seen[key]
        self._seen[key] = now_ms + self.window_ms
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
