"""What one transaction writes, gathered from a step's effects and folded: the last word on a key wins."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_agent.effects import Append, Drop, Effect, Put, Send

ShelfRow = tuple[str, str, str, str, bytes, int, int]
OutboxRow = tuple[int, str, bytes, int, bool, str, bytes, str, int]


@dataclass(slots=True)
class Writes:
    """Rows of one transaction.

    Attributes:
        state: (room, key) → (value, expires_ms); None: deleted.
        shelf: (shelf, id) → row to add.
        outbox: entry → row of the outbox.
        delivered: entries that the broker has acknowledged.
        meta: rows of the shell's own.
        size: bytes of all values, about.
    """

    state: dict[tuple[str, str], tuple[bytes, int] | None] = field(default_factory=dict)
    shelf: dict[tuple[str, str], ShelfRow] = field(default_factory=dict)
    outbox: dict[int, OutboxRow] = field(default_factory=dict)
    delivered: list[int] = field(default_factory=list)
    meta: dict[str, bytes] = field(default_factory=dict)
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.state or self.shelf or self.outbox or self.delivered or self.meta)

    def add(self, effects: Iterable[Effect], next_entry: int) -> int:
        """Take in what is stored of `effects`.

        Args:
            effects: of one step.
            next_entry: number of the outbox's next entry.
        Returns:
            The next entry's number after these.
        """
        for effect in effects:
            if isinstance(effect, Put):
                self.state[effect.room, effect.key] = (effect.value, effect.expires_ms)
                self.size += len(effect.value)
            elif isinstance(effect, Append):
                self.shelf.setdefault((effect.shelf, effect.id), _shelf_row(effect))
                self.size += len(effect.value)
            elif isinstance(effect, Send):
                self.outbox[next_entry] = _outbox_row(next_entry, effect)
                self.size += len(effect.payload)
                next_entry += 1
            elif isinstance(effect, Drop):
                self.state[effect.room, effect.key] = None
        return next_entry

    def absorb(self, later: "Writes") -> None:
        """Add a later transaction's rows to this one's."""
        self.state.update(later.state)
        for key, row in later.shelf.items():
            self.shelf.setdefault(key, row)
        self.outbox.update(later.outbox)
        for entry in later.delivered:
            if self.outbox.pop(entry, None) is None:
                self.delivered.append(entry)
        self.meta.update(later.meta)
        self.size += later.size


def _shelf_row(effect: Append) -> ShelfRow:
    return (
        effect.shelf,
        effect.id,
        effect.group,
        effect.subject,
        effect.value,
        effect.made_ms,
        effect.expires_ms,
    )


def _outbox_row(entry: int, send: Send) -> OutboxRow:
    return (
        entry,
        send.topic,
        send.payload,
        send.qos,
        send.retain,
        send.content_type,
        send.correlation,
        send.traceparent,
        send.expires_ms,
    )
