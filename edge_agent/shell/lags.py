"""How long decisions take: from the signal, by its event time, and from its arrival, until the socket has them.

Per placement, since the start of this process. A decision that waited for a broker counts with all its waiting; one
that expired while it waited was never handed over and does not count.
"""

from collections.abc import Iterable, Mapping

import msgspec

from edge_agent.shell.writes import OutboxRow
from firmware_configs import histogram
from firmware_configs.histogram import Histogram
from firmware_configs.messages import MSGPACK, DecisionMade

SIGNALS_MAX = 4_096
"""Decisions on the way whose signal is remembered; those beyond are read from their payload again."""

_decoder = msgspec.msgpack.Decoder(DecisionMade)


class Lags:
    """Two histograms a placement.

    Attributes:
        signal: placement → bucket → decisions, from event time to the socket.
        arrival: the same from the reading of the batch that held the event.
    """

    def __init__(self) -> None:
        self.signal: dict[str, list[int]] = {}
        self.arrival: dict[str, list[int]] = {}
        self._signals: dict[int, tuple[str, int, float]] = {}

    def expect(self, signals: Mapping[int, tuple[str, int]], read_s: float) -> None:
        """Decisions that were just committed.

        Args:
            signals: outbox entry → (placement, event time in unix ms).
            read_s: when their batch was read, monotonic seconds.
        """
        if len(self._signals) < SIGNALS_MAX:
            for entry, (placement, signal_ms) in signals.items():
                self._signals[entry] = (placement, signal_ms, read_s)

    def handed_over(self, rows: Iterable[OutboxRow], now_ms: int, now_s: float) -> None:
        """The socket has these rows.

        Args:
            now_ms: unix ms.
            now_s: monotonic seconds.
        """
        for row in rows:
            known = self._signals.pop(row[0], None)
            if row[8] and row[8] <= now_ms:
                continue
            if known is not None:
                placement, signal_ms, read_s = known
                histogram.add(self.arrival, placement, (now_s - read_s) * 1_000)
                histogram.add(self.signal, placement, now_ms - signal_ms)
            elif row[9] == "decision" and row[5] == MSGPACK:
                self._add_read(row[2], now_ms)

    def _add_read(self, payload: bytes, now_ms: int) -> None:
        """A decision of an earlier life, or one of too many at once: only its signal is known."""
        try:
            made = _decoder.decode(payload)
        except msgspec.MsgspecError:
            return
        if made.event_time_ms:
            histogram.add(self.signal, made.placement, now_ms - made.event_time_ms)

    def told(self) -> tuple[dict[str, Histogram], dict[str, Histogram]]:
        """From the signal and from the arrival, by placement."""
        return histogram.told_each(self.signal), histogram.told_each(self.arrival)
