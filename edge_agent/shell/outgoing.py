"""From the outbox to the broker: in order, no faster than the window, and after an outage no faster than the pace.

What was just committed is sent from memory; what waited longer is read from the database again. A row is handed over
once a connection; what the broker had not acknowledged when the line broke goes again, with the same decision id.
"""

from collections import deque
from collections.abc import Iterable

from edge_agent.egress.outbox import Pace
from edge_agent.shell.line import Line
from edge_agent.shell.store import Store
from edge_agent.shell.writes import OutboxRow

READY_MAX = 4_096
"""Rows held in memory for the window to open; beyond, they are read from the database when their turn comes."""


class Outgoing:
    """What is still to be handed to the present connection."""

    def __init__(self, store: Store, link: Line) -> None:
        self._store, self._link = store, link
        self._ready: deque[OutboxRow] = deque()
        self._cursor = 0
        self._behind = self._paced = False
        self._pace = Pace()
        self.handed_over: list[OutboxRow] = []
        """Rows that the link has taken since the last `flush` of the loop."""

    @property
    def waiting(self) -> bool:
        """Whether there is something that the window did not take yet."""
        return bool(self._ready) or self._behind

    def add(self, rows: Iterable[OutboxRow]) -> None:
        """Rows that were just committed, or on a full disk are to go from memory."""
        for row in rows:
            if self._behind or len(self._ready) >= READY_MAX:
                self._behind = True
                return
            self._ready.append(row)

    def rescan(self, *, paced: bool) -> None:
        """Start again from what the database holds: after a connect, or when writing works again."""
        self._ready.clear()
        self._cursor, self._behind, self._paced = 0, True, paced

    def pump(self, now_s: float) -> None:
        """Hand over what the window takes.

        Args:
            now_s: monotonic seconds.
        """
        while (room := self._link.room) > 0:
            if not self._ready and not self._refill(room, now_s):
                return
            while self._ready and room > 0:
                if not self._link.publish(self._ready[0]):
                    return
                row = self._ready.popleft()
                self._cursor = max(self._cursor, row[0])
                self.handed_over.append(row)
                room -= 1

    def _refill(self, room: int, now_s: float) -> bool:
        """Read on in the database; whether there is something to send now."""
        if not self._behind:
            return False
        most = min(room, self._pace.room(now_s)) if self._paced else READY_MAX
        if most <= 0:
            return False
        rows = self._store.waiting(self._cursor, most)
        if self._paced:
            self._pace.left(len(rows))
        if len(rows) < most and not self._store.degraded:
            self._behind = self._paced = False
        if rows:
            self._cursor = rows[-1][0]
            in_flight = self._link.in_flight
            self._ready.extend(row for row in rows if row[0] not in in_flight)
        return bool(self._ready)
