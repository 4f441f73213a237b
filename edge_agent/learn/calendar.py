"""What is due when: one time a key, and the earliest first."""

from heapq import heapify, heappop, heappush

SLACK = 64
"""Entries of the heap that were overtaken, beyond as many as there are keys, before it is made anew."""


class Calendar:
    """A bounded set of (key, due time). The caller stores it; here it is only kept in order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: str, due_ms: int) -> bool:
        """Note when a key is due, instead of what was noted before; False when there is no room for another key."""
        if key not in self._due and len(self._due) >= self._most:
            return False
        self._due[key] = due_ms
        heappush(self._heap, (due_ms, key))
        if len(self._heap) > 2 * len(self._due) + SLACK:
            self._heap = [(due, name) for name, due in self._due.items()]
            heapify(self._heap)
        return True

    def drop(self, key: str) -> None:
        """Nothing is due of the key any more."""
        self._due.pop(key, None)

    def take(self, now_ms: int, most: int) -> list[str]:
        """Keys that are due by now, at most so many, earliest first; they are no longer noted."""
        found: list[str] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < most:
            due_ms, key = heappop(self._heap)
            if self._due.get(key) == due_ms:
                del self._due[key]
                found.append(key)
        return found
