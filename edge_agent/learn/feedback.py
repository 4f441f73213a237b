"""What an outcome is worth, and whether it still counts."""

from collections.abc import Iterable

from msgspec import Struct

from edge_agent.errors import FeedbackUnknown
from firmware_configs.profile import Reward


class Outcome(Struct, frozen=True):
    """An outcome that counts."""

    value: float
    """In [0, 1]."""
    delay_ms: int
    """From the decision to the outcome."""


def judge(
    outcome: str, rewards: Iterable[Reward], decided_ms: int, happened_ms: int, window_s: float
) -> Outcome | None:
    """The outcome's worth; None when it came after the placement's reward window.

    Raises:
        FeedbackUnknown: the placement declares no such outcome.
    """
    value = next((reward.value for reward in rewards if reward.outcome == outcome), None)
    if value is None:
        known = ", ".join(reward.outcome for reward in rewards) or "none"
        raise FeedbackUnknown(f"outcome not declared; this placement knows: {known}", hint="add a [[placement.reward]]")
    delay = max(0, happened_ms - decided_ms)
    return Outcome(value, delay) if delay <= window_s * 1_000 else None
