"""Whether a decision may reach people now: frequency caps and the limits of what it switches."""

from collections.abc import Sequence

from edge_agent.limits import CAPS_MAX, FUTURE_MS_MAX
from firmware_configs.profile import Actuator, Cap


def capped(history_ms: Sequence[int], caps: Sequence[Cap], now_ms: int) -> Cap | None:
    """The first cap that one more decision would break.

    Args:
        history_ms: when the newest decisions were made, unix ms, oldest first. What lies far ahead was written by a
            clock that was ahead, and does not count.
    """
    for cap in caps:
        since = now_ms - cap.per_s * 1_000
        if sum(1 for made in history_ms if since < made <= now_ms + FUTURE_MS_MAX) >= cap.count:
            return cap
    return None


def remember(history_ms: Sequence[int], now_ms: int) -> list[int]:
    """The history with one more decision, no longer than any cap can ask for."""
    return [*history_ms[-(CAPS_MAX - 1) :], now_ms]


def command(actuator: Actuator, item: str, history_ms: Sequence[int], now_ms: int) -> str | None:
    """The payload that switches the actuator; None when its limits forbid it now."""
    recent = sum(1 for made in history_ms if now_ms - 60_000 < made <= now_ms + FUTURE_MS_MAX)
    return actuator.payloads.get(item) if recent < actuator.per_minute_max else None
