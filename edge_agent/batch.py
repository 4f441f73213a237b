"""What one step changes and asks for, gathered so that each state is written once however many events touched it."""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from edge_agent.effects import Append, Drop, Effect, Put, Room


class Batch:
    """The effects of one step. Dirty state is packed at the end, not at each touch."""

    __slots__ = ("_dirty", "effects", "now_ms", "settled_ms")

    def __init__(self, now_ms: int, settled_ms: int) -> None:
        self.now_ms = now_ms
        self.settled_ms = settled_ms
        self.effects: list[Effect] = []
        self._dirty: dict[tuple[Room, str], tuple[Callable[[], bytes], int]] = {}

    def touch(self, room: Room, key: str, pack: Callable[[], bytes], expires_ms: int = 0) -> None:
        """State that has changed; `pack` is called once, at the end of the step."""
        self._dirty[room, key] = (pack, expires_ms)

    def put(self, room: Room, key: str, value: bytes, expires_ms: int = 0) -> None:
        """State that is already packed."""
        self.effects.append(Put(room=room, key=key, value=value, expires_ms=expires_ms))

    def drop(self, room: Room, key: str) -> None:
        """State that is to be forgotten, also what this step changed of it."""
        self._dirty.pop((room, key), None)
        self.effects.append(Drop(room=room, key=key))

    def append(self, row: Append) -> None:
        """A row for a shelf."""
        self.effects.append(row)

    def journal(self, happening: Struct, identity: str, group: str, subject: str, retention_ms: int) -> None:
        """A happening for replay, in the order in which it took effect."""
        row = Append(
            shelf="journal",
            id=identity,
            group=group,
            value=msgspec.msgpack.encode(happening),
            made_ms=self.now_ms,
            expires_ms=self.now_ms + retention_ms,
            subject=subject,
        )
        self.append(row)

    def close(self) -> list[Effect]:
        """All effects, state last."""
        for (room, key), (pack, expires_ms) in self._dirty.items():
            self.effects.append(Put(room=room, key=key, value=pack(), expires_ms=expires_ms))
        self._dirty.clear()
        return self.effects
