"""Two times for the agent: `now`, to decide by, and `settled`, to delete by.

A device's own clock starts at 1970 until NTP steps it, or leaps to 2040 when its battery fails. Deciding wants the
best time at once; deletion cannot be undone and must not believe a leap. So deletion goes by a line that runs on with
monotonic time, follows every correction backwards and every step forward up to a day, and follows a longer leap only
after the clock has stood by it for a day of running time, counted over restarts (docs/time.md).
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from edge_agent.intake.watermark import EARLIEST_MS
from edge_agent.limits import DAY_MS

JUMP_MS = 10_000
"""Wall and monotonic time may drift apart by this much between two readings; more is a jump, and is told."""
STORE_MS = 60_000
"""A crash forgets this much of the line."""
LEAP_MS = DAY_MS
"""A step forward of up to this much is followed by deletion at once: it costs nobody more than a day of retention."""
CONFIRM_MS = DAY_MS
"""Running time after which a leap is believed."""


class Times(NamedTuple):
    """One reading."""

    now_ms: int
    """Unix ms to decide and date by."""
    settled_ms: int
    """Unix ms to delete by; never ahead of `now_ms`, but for a clock that was never set."""
    jump_ms: int
    """How far the wall clock jumped since the last reading; 0: it did not."""


class Timeline:
    """Reads both clocks and draws the line.

    Attributes:
        held: whether deletion waits for a leap to be confirmed.
    """

    def __init__(self, wall_ms: Callable[[], int], monotonic_s: Callable[[], float], stored: bytes | None) -> None:
        """Take up the line where the last run left it.

        Args:
            wall_ms: unix ms, may jump.
            monotonic_s: seconds that never jump.
            stored: of `pack`; None: the first run.
        """
        self._read_wall_ms, self._read_monotonic_s = wall_ms, monotonic_s
        self._wall_ms, self._monotonic_s = wall_ms(), monotonic_s()
        self._line_ms, self._agreed_ms = _decoder.decode(stored) if stored else (self._wall_ms, 0)
        self._stored_ms = 0
        self.held = False
        self.read()

    def now_ms(self) -> int:
        """Unix ms to decide and date by: the wall clock's, or the last known while that was never set."""
        wall_ms = self._read_wall_ms()
        return wall_ms if wall_ms >= EARLIEST_MS else max(wall_ms, self._line_ms)

    def read(self) -> Times:
        """Both times, now."""
        wall_ms, monotonic_s = self._read_wall_ms(), self._read_monotonic_s()
        elapsed_ms = max(0, int((monotonic_s - self._monotonic_s) * 1_000))
        # The fraction of a millisecond is left for the next reading.
        self._monotonic_s += elapsed_ms / 1_000
        jump_ms = wall_ms - self._wall_ms - elapsed_ms
        self._wall_ms = wall_ms
        line_ms = self._line_ms + elapsed_ms
        if wall_ms < EARLIEST_MS:
            self._line_ms = line_ms
            return Times(max(wall_ms, line_ms), line_ms, jump_ms if abs(jump_ms) > JUMP_MS else 0)
        self.held = wall_ms - line_ms > LEAP_MS
        self._agreed_ms = self._agreed_ms + elapsed_ms if self.held else 0
        if not self.held or self._agreed_ms >= CONFIRM_MS:
            line_ms, self._agreed_ms, self.held = wall_ms, 0, False
        self._line_ms = line_ms
        return Times(wall_ms, line_ms, jump_ms if abs(jump_ms) > JUMP_MS else 0)

    @property
    def settled_ms(self) -> int:
        """The time to delete by, as of the newest reading."""
        return self._line_ms

    @property
    def due(self) -> bool:
        """Whether the stored line is old enough to be written again: a flash has so many writes."""
        return not 0 <= self._line_ms - self._stored_ms < STORE_MS

    def pack(self) -> bytes:
        """What the next run takes up."""
        self._stored_ms = self._line_ms
        return msgspec.msgpack.encode((self._line_ms, self._agreed_ms))


_decoder = msgspec.msgpack.Decoder(tuple[int, int])
