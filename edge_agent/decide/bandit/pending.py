"""Decisions that wait for an outcome. When the window closes without one, that is an outcome too, and counts once."""

from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from edge_agent.limits import PENDING_MAX


class Waiting(Struct, array_like=True):
    """A decision that waits."""

    decision: str
    due_ms: int
    items: list[str]
    """Those of the slate without an outcome so far."""


Chunk = list[Waiting]
CHUNK = 64
"""Decisions in one stored row: what a decision's own waiting costs to write."""
HEAD = ""
_head_decoder = msgspec.msgpack.Decoder(tuple[int, int, int])
_chunk_decoder = msgspec.msgpack.Decoder(Chunk)


class Pending:
    """A queue in the store, in chunks, of which only those in use are in memory.

    Attributes:
        changed: keys of what is to be stored since it was last emptied.
        dropped: keys of what is to be forgotten.
    """

    def __init__(self, recall: Callable[[str], bytes | None]) -> None:
        """Take up what was stored.

        Args:
            recall: key → stored bytes; the key of the head is empty.
        """
        self._recall = recall
        stored = recall(HEAD)
        self.first, self.last, self.count = (1, 1, 0) if stored is None else _head_decoder.decode(stored)
        self._chunks: dict[int, Chunk] = {}
        self.changed: set[str] = set()
        self.dropped: set[str] = set()

    def add(self, decision: str, due_ms: int, items: tuple[str, ...]) -> int:
        """Let a decision wait; the number of its chunk, from 1, to find it again."""
        if len(self._chunk(self.last)) >= CHUNK:
            self.last += 1
        self._chunk(self.last).append(Waiting(decision, due_ms, list(items)))
        self.count += 1
        self.changed |= {HEAD, str(self.last)}
        return self.last

    def settle(self, number: int, decision: str, item: str) -> bool:
        """An outcome came. False: it comes too late, the decision's window was closed or the item has had one."""
        if not self.first <= number <= self.last:
            return False
        for waiting in self._chunk(number):
            if waiting.decision == decision:
                if item not in waiting.items:
                    return False
                waiting.items.remove(item)
                self.changed.add(str(number))
                return True
        return False

    def due(self, now_ms: int) -> Iterator[Waiting]:
        """Those whose window is over, or that are too many, in the order in which they were added; each once."""
        while self.count:
            chunk = self._chunk(self.first)
            if not chunk:
                self._next_chunk()
                continue
            if chunk[0].due_ms > now_ms and self.count <= PENDING_MAX:
                return
            self.count -= 1
            self.changed |= {HEAD, str(self.first)}
            yield chunk.pop(0)

    def _next_chunk(self) -> None:
        key = str(self.first)
        self._chunks.pop(self.first, None)
        self.changed.discard(key)
        self.dropped.add(key)
        self.first += 1
        self.last = max(self.last, self.first)
        self.changed.add(HEAD)

    def pack(self, key: str) -> bytes:
        """The stored form of the head or of a chunk."""
        if key == HEAD:
            return msgspec.msgpack.encode((self.first, self.last, self.count))
        return msgspec.msgpack.encode(self._chunks[int(key)])

    def trim(self) -> None:
        """Between steps: only the chunk that is written to stays in memory."""
        if len(self._chunks) > 2:
            self._chunks = {
                number: self._chunks[number] for number in (self.first, self.last) if number in self._chunks
            }

    def _chunk(self, number: int) -> Chunk:
        if number not in self._chunks:
            stored = self._recall(str(number))
            self._chunks[number] = [] if stored is None else _chunk_decoder.decode(stored)
        return self._chunks[number]
