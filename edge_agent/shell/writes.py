"""What one transaction writes, gathered from a step's effects and folded: the last word on a key wins."""

from collections.abc import Iterable

from msgspec import Struct

from edge_agent.effects import Append, Drop, Effect, Erase, Put, Send

ShelfRow = tuple[str, str, str, str, bytes, int, int]
OutboxRow = tuple[int, str, bytes, int, bool, str, bytes, str, int, str]
"""(entry, topic, payload, qos, retain, content type, correlation, traceparent, expires_ms, egress kind)."""


class Writes(Struct):
    """Rows of one transaction.

    Attributes:
        state: (room, key) → (value, expires_ms); None: deleted.
        seen: event id → expires_ms, of the room `dedupe`.
        ledger: seq → row, of the room `ledger`.
        erased: (shelf, group, subject) of rows to delete, before any is added.
        shelf: (shelf, id) → row to add.
        outbox: entry → row of the outbox.
        signals: entry of a decision → (placement, event time in unix ms); not stored.
        delivered: entries that the broker has acknowledged.
        meta: rows of the shell's own.
        size: bytes of all values, about.
    """

    state: dict[tuple[str, str], tuple[bytes, int] | None] = {}
    seen: dict[str, int] = {}
    ledger: dict[int, bytes] = {}
    erased: list[tuple[str, str, str]] = []
    shelf: dict[tuple[str, str], ShelfRow] = {}
    outbox: dict[int, OutboxRow] = {}
    signals: dict[int, tuple[str, int]] = {}
    delivered: list[int] = []
    meta: dict[str, bytes] = {}
    size: int = 0

    def __bool__(self) -> bool:
        kept = self.state or self.seen or self.ledger or self.shelf or self.outbox or self.delivered or self.meta
        return bool(kept or self.erased)

    def add(self, effects: Iterable[Effect]) -> list[Effect]:
        """Take in what is stored of `effects`, those of one step; returns the others, in order."""
        others: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Put):
                room, key, value = effect.room, effect.key, effect.value
                self.size += len(value) + len(key)
                if room == "dedupe":
                    self.seen[key] = effect.expires_ms
                elif room == "ledger":
                    self.ledger[int(key)] = value
                else:
                    self.state[room, key] = (value, effect.expires_ms)
            elif isinstance(effect, Append):
                self.shelf.setdefault((effect.shelf, effect.id), _shelf_row(effect))
                self.size += len(effect.value)
            elif isinstance(effect, Send):
                # The ledger's number is the entry's: it never starts again, whatever the outbox holds.
                self.outbox[effect.entered.seq] = _outbox_row(effect)
                self.size += len(effect.payload)
                if effect.signal_ms:
                    self.signals[effect.entered.seq] = (effect.placement, effect.signal_ms)
            elif isinstance(effect, Erase):
                self._erase((effect.shelf, effect.group, effect.subject))
            elif isinstance(effect, Drop):
                self.state[effect.room, effect.key] = None
            else:
                others.append(effect)
        return others

    def _erase(self, whose: tuple[str, str, str]) -> None:
        self.shelf = {key: row for key, row in self.shelf.items() if (row[0], row[2], row[3]) != whose}
        if whose not in self.erased:
            self.erased.append(whose)

    def absorb(self, later: "Writes") -> None:
        """Add a later transaction's rows to this one's."""
        self.state.update(later.state)
        self.seen.update(later.seen)
        self.ledger.update(later.ledger)
        for whose in later.erased:
            self._erase(whose)
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


def _outbox_row(send: Send) -> OutboxRow:
    return (
        send.entered.seq,
        send.topic,
        send.payload,
        send.qos,
        send.retain,
        send.content_type,
        send.correlation,
        send.traceparent,
        send.expires_ms,
        send.entered.kind,
    )
