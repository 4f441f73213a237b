"""Error budgets: how fast a service level objective's allowance of bad outcomes is spent.

Source: The Site Reliability Workbook (Google, 2018), chapter 5, "Alerting on SLOs", section 6, "Multiwindow,
Multi-Burn-Rate Alerts", table 5-8. A burn rate of 1 spends the budget exactly in the period. An alert needs both of
its windows: the long one says that it matters, the short one that it goes on.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from edge_agent.limits import DAY_MS

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
_SPANS = ((DAY_MS, 3 * DAY_MS), (HOUR_MS, 6 * HOUR_MS), (5 * MINUTE_MS, HOUR_MS))
"""(width, age): a slot is so wide once all of it is so old, which is a window's length: a window's edge never lies in a
slot that is wide for it."""


class Window(NamedTuple):
    """One row of the workbook's table."""

    severity: Literal["page", "ticket"]
    share: float
    """Of the period's budget that is gone when the long window has burnt at the threshold."""
    long_ms: int
    short_ms: int


WINDOWS = (
    Window("page", 0.02, HOUR_MS, 5 * MINUTE_MS),
    Window("page", 0.05, 6 * HOUR_MS, 30 * MINUTE_MS),
    Window("ticket", 0.10, 3 * DAY_MS, 6 * HOUR_MS),
)


class Slot(Struct, array_like=True):
    """What came of a stretch of time."""

    start_ms: int
    span_ms: int
    good: int
    bad: int


class Burning(NamedTuple):
    """A window in which the budget burns too fast."""

    window: Window
    rate: float
    threshold: float
    good: int
    bad: int


class ErrorBudget:
    """Good and bad of one objective over its period, in slots that grow wider with age: some 260 for 30 days."""

    def __init__(self, target: float, period_ms: int, bad_min: int = 1) -> None:
        """An unspent budget.

        Args:
            target: share that must be good, in (0, 1).
            period_ms: over which.
            bad_min: bad ones there must be in a long window before it alerts.
        """
        self.target, self.period_ms, self.bad_min = target, period_ms, bad_min
        self.slots: list[Slot] = []

    def add(self, good: int, bad: int, now_ms: int) -> None:
        """What came since the last time; a clock that was set back does not count earlier than before."""
        if not good and not bad:
            return
        if self.slots:
            now_ms = max(now_ms, self.slots[-1].start_ms)
        self.slots.append(Slot(now_ms // MINUTE_MS * MINUTE_MS, MINUTE_MS, good, bad))
        self.slots = list(_folded(self.slots, now_ms, self.period_ms))

    def counts(self, window_ms: int, now_ms: int) -> tuple[int, int]:
        """Good and bad of the last `window_ms`; the slot in which the window begins counts whole."""
        good = bad = 0
        for slot in reversed(self.slots):
            # A wide slot may end after a narrower one that was added later: look at each.
            if slot.start_ms + slot.span_ms > now_ms - window_ms:
                good, bad = good + slot.good, bad + slot.bad
        return good, bad

    def rate(self, window_ms: int, now_ms: int) -> float:
        """How many times too fast the budget was spent in the window; 0.0 when nothing came."""
        return _rate(*self.counts(window_ms, now_ms), self.target)

    def left(self, now_ms: int) -> float:
        """Share of the period's budget that is left, as things went; below zero: overspent; 1.0: nothing came."""
        return 1.0 - self.rate(self.period_ms, now_ms)

    def threshold(self, window: Window) -> float:
        """The burn rate at which a window alerts; at most what a total failure burns, which always alerts."""
        return min(window.share * self.period_ms / window.long_ms, 1.0 / (1.0 - self.target))

    def burning(self, now_ms: int) -> Burning | None:
        """The most severe window that burns too fast; None: none does."""
        for window in WINDOWS:
            good, bad = self.counts(window.long_ms, now_ms)
            rate, threshold = _rate(good, bad, self.target), self.threshold(window)
            # As much as rounding takes off: all bad must reach the most that can be.
            least = threshold * (1.0 - 1e-9)
            if bad >= self.bad_min and rate >= least and self.rate(window.short_ms, now_ms) >= least:
                return Burning(window, rate, threshold, good, bad)
        return None

    def pack(self) -> bytes:
        """The stored form."""
        return msgspec.msgpack.encode(self.slots)

    def restore(self, packed: bytes) -> None:
        """Take up a stored form.

        Raises:
            msgspec.MsgspecError: it is none.
        """
        self.slots = msgspec.msgpack.decode(packed, type=list[Slot])


def _rate(good: int, bad: int, target: float) -> float:
    return bad / (good + bad) / (1.0 - target) if good + bad else 0.0


def _span(start_ms: int, now_ms: int) -> int:
    """How wide the slot may be in which a stretch that began then is counted."""
    return next((width for width, age in _SPANS if now_ms - start_ms // width * width - width >= age), MINUTE_MS)


def _folded(slots: Iterable[Slot], now_ms: int, period_ms: int) -> Iterator[Slot]:
    """The same with old slots joined, and without what is over."""
    last: Slot | None = None
    for slot in slots:
        if slot.start_ms + slot.span_ms <= now_ms - period_ms:
            continue
        span = max(slot.span_ms, _span(slot.start_ms, now_ms))
        start = slot.start_ms // span * span
        if last is not None and (last.start_ms, last.span_ms) == (start, span):
            last.good, last.bad = last.good + slot.good, last.bad + slot.bad
            continue
        if last is not None:
            yield last
        last = Slot(start, span, slot.good, slot.bad)
    if last is not None:
        yield last
