"""What waits for the broker: what goes first when there is too much, and how fast a backlog may leave."""

from collections.abc import Sequence

from msgspec import Struct

from edge_agent.limits import DRAIN_BURST, DRAIN_PER_S

PRIORITY = {
    "rejection": 0,
    "metric": 1,
    "late-event": 2,
    "experiment": 3,
    "decision": 4,
    "update": 5,
    "statistic": 5,
    "alert": 6,
    "status": 7,
}
"""Egress kind → how long it is held on to: reports about noise go first, what the device is goes last."""


class Waiting(Struct, frozen=True, array_like=True):
    """One entry, as the outbox sees it."""

    entry: int
    kind: str
    expires_ms: int
    retain: bool


def evicted(waiting: Sequence[Waiting], most: int) -> list[int]:
    """Entries to give up so that at most `most` wait.

    Order: what is not retained before what is (a retained message says what is true now); within that by the kind's
    priority; within a kind perishable things first, then the oldest.
    """
    surplus = len(waiting) - most
    if surplus <= 0:
        return []
    ranked = sorted(
        waiting, key=lambda one: (bool(one.retain), PRIORITY.get(one.kind, 4), one.expires_ms == 0, one.entry)
    )
    return [one.entry for one in ranked[:surplus]]


class Pace:
    """How many messages of a backlog may leave now: a token bucket (RFC 2697's committed rate and burst).

    A fleet that comes back after an outage would otherwise pour weeks into the broker at once.
    """

    __slots__ = ("_at_s", "_tokens")

    def __init__(self) -> None:
        self._tokens, self._at_s = float(DRAIN_BURST), 0.0

    def room(self, now_s: float) -> int:
        """Messages that may leave at `now_s` (monotonic seconds)."""
        self._tokens = min(float(DRAIN_BURST), self._tokens + max(0.0, now_s - self._at_s) * DRAIN_PER_S)
        self._at_s = now_s
        return int(self._tokens)

    def left(self, count: int) -> None:
        """`count` messages have left."""
        self._tokens -= count
