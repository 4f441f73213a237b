"""What waits for the broker: which of it is still worth sending, and what goes first when there is too much."""

from collections.abc import Iterable, Sequence

from msgspec import Struct


class Waiting(Struct, frozen=True):
    """One entry, as the outbox sees it."""

    entry: int
    expires_ms: int
    retain: bool


def expired(waiting: Iterable[Waiting], now_ms: int) -> list[int]:
    """Entries that are no longer worth sending."""
    return [one.entry for one in waiting if one.expires_ms and one.expires_ms <= now_ms]


def evicted(waiting: Sequence[Waiting], most: int) -> list[int]:
    """Entries to give up so that at most `most` wait: perishable ones first, the oldest first; then the oldest.

    Retained messages (status, reported) go last: they say what is true, and a newer one replaces them anyway.
    """
    surplus = len(waiting) - most
    if surplus <= 0:
        return []
    ranked = sorted(waiting, key=lambda one: (one.retain, one.expires_ms == 0, one.entry))
    return [one.entry for one in ranked[:surplus]]
