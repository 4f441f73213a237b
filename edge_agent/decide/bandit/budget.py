"""What a placement has explored today."""

import msgspec

from edge_agent.limits import DAY_MS
from firmware_configs.profile import Exploration

_decoder = msgspec.msgpack.Decoder(tuple[int, int, int, float])


class Budget:
    """Counts of one UTC day. A decision is asked about before it is made, so no bound is ever passed.

    A clock that goes back does not open a new day.
    """

    __slots__ = ("day", "decisions", "explored", "loss")

    def __init__(self, stored: bytes | None = None) -> None:
        self.day, self.decisions, self.explored, self.loss = (
            (0, 0, 0, 0.0) if stored is None else _decoder.decode(stored)
        )

    def pack(self) -> bytes:
        """The stored form."""
        return msgspec.msgpack.encode((self.day, self.decisions, self.explored, self.loss))

    def open(self, now_ms: int) -> None:
        """Begin a new day, if it is one."""
        day = now_ms // DAY_MS
        if day > self.day:
            self.day, self.decisions, self.explored, self.loss = day, 0, 0, 0.0

    def may_explore(self, said: Exploration) -> bool:
        """Whether one more exploration stays within the day's share and number."""
        if said.decisions_per_day is not None and self.explored >= said.decisions_per_day:
            return False
        return self.explored + 1 <= said.share_per_day * (self.decisions + 1)

    def affords(self, said: Exploration, loss: float) -> bool:
        """Whether the day's expected loss stays within bounds with this."""
        return said.loss_per_day is None or self.loss + loss <= said.loss_per_day

    def take(self, *, explored: bool, loss: float) -> None:
        """A decision was made."""
        self.decisions += 1
        self.explored += explored
        self.loss += loss
