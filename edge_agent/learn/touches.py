"""Decisions that may still be credited or observed, by subject: bounded in number and in time.

Everything here goes by the time at which things happened, in whatever order they come.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from edge_agent.learn.lifetime import Purchases
from edge_agent.limits import CLOCKS_AGREE_MS, PATH_MAX, TOUCHES_MAX
from firmware_configs.profile import Creditable, Dwell


class Touch(Struct, array_like=True):
    """One decision, as long as something may come of it."""

    id: str
    placement: str
    channel: str
    items: tuple[str, ...]
    made_ms: int
    arm: str = ""
    """`experiment/arm`; empty: none."""
    segment: str = ""
    pending: list[str] = []
    """Metrics that are still to be observed."""
    marks: dict[str, float] = {}
    """Metric → seconds to its first outcome, or what its outcomes are worth until now."""
    seen_ms: int = 0
    """When it first came into view, unix ms; 0: never."""
    open_ms: int = 0
    """When the view began that has not ended, unix ms; 0: none is open."""
    viewed_ms: int = 0
    """How long it was in view, all ended views together, ms."""
    unended: int = 0
    """Views whose end was never told."""
    early_ms: int = 0
    """An end that came before its start, unix ms; 0: none waits."""

    def show(self, at_ms: int, cap_ms: int) -> None:
        """It came into view."""
        self.seen_ms = min(self.seen_ms, at_ms) if self.seen_ms else at_ms
        if self.early_ms >= at_ms:
            self.viewed_ms += min(self.early_ms - at_ms, cap_ms)
            self.early_ms = 0
            return
        self.unended += self.open_ms > 0
        self.open_ms = at_ms

    def hide(self, at_ms: int, cap_ms: int) -> None:
        """It went out of view; the start may still come."""
        if 0 < self.open_ms <= at_ms:
            self.viewed_ms += min(at_ms - self.open_ms, cap_ms)
            self.open_ms = 0
        else:
            self.early_ms = at_ms


class Anchor(Struct, array_like=True):
    """A decision from which the days of a person are counted."""

    id: str
    placement: str
    made_ms: int
    arm: str = ""
    segment: str = ""
    back: bool = False


class Track(Struct, array_like=True):
    """Everything open of one subject; what goes by person stands with the subject that names the person."""

    touches: list[Touch] = []
    """Oldest first."""
    anchors: dict[str, Anchor] = {}
    """Metric and placement, divided by U+0000."""
    purchases: dict[str, Purchases] = {}
    """Metric → what a lifetime value is estimated from."""
    journeys: dict[str, list[str]] = {}
    """Outcome → what the person was shown since the last one, oldest first."""
    due_ms: int = 0
    """When the next window of this subject closes, as it stands in the calendar; 0: nothing is due."""

    def add(self, touch: Touch) -> Touch | None:
        """One more decision; returns the one that gives way for it."""
        self.touches.append(touch)
        return self.touches.pop(0) if len(self.touches) > TOUCHES_MAX else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is worth keeping."""
        return not (self.touches or self.anchors or self.purchases or self.journeys)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Track)


def pack(track: Track) -> bytes:
    """The stored form."""
    return _encoder.encode(track)


def unpack(packed: bytes) -> Track:
    """The track of a stored form.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decoder.decode(packed)


def creditable(
    touches: Iterable[Touch], entries: Mapping[str, Creditable], fields: Mapping[str, object], at_ms: int
) -> list[tuple[Touch, str]]:
    """Touches that an outcome may be credited to, with the item that it is about.

    Args:
        entries: placement → what the outcome demands of its decisions.
        fields: of the outcome's event.
        at_ms: when the outcome happened, unix ms. Clocks of devices agree to `CLOCKS_AGREE_MS` only.
    """
    found = []
    for touch in touches:
        entry = entries.get(touch.placement)
        if entry is None or not -CLOCKS_AGREE_MS <= at_ms - touch.made_ms <= entry.window_s * 1_000:
            continue
        item = fields.get(entry.item) if entry.item else touch.items[0]
        if item not in touch.items or (entry.seen and not 0 < touch.seen_ms <= at_ms + CLOCKS_AGREE_MS):
            continue
        found.append((touch, str(item)))
    return found


def path_of(steps: Sequence[str]) -> tuple[str, ...]:
    """The newest steps of a path, oldest first."""
    return tuple(steps[-PATH_MAX:])


def dwelt_s(touch: Touch, measure: Dwell) -> float | None:
    """Seconds in view, all views together; None: it was never seen, or an end is missing and that drops it."""
    missing = touch.unended + (touch.open_ms > 0)
    if not touch.seen_ms or (missing and measure.missing_end == "drop"):
        return None
    ended = touch.viewed_ms / 1_000.0
    return ended + missing * measure.cap_s if measure.missing_end == "cap" else ended
