"""Decisions and what they earned, joined: what a log can tell of another policy, and what of it cannot be used.

The first place of a slate is evaluated: its probability is exact. What a fallback decided was no policy's choice; a
decision whose reward window is still open has not earned yet; one that holds no scores of all its candidates cannot
be made again.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from edge_agent.decide.decision import Trail
from edge_agent.learn.earned import Earned
from edge_agent.observing import REWARD


class Round(Struct, frozen=True):
    """One decision that can be evaluated, and its outcome."""

    trail: Trail
    earned: float
    """Of the metric, for the item in the first place; 0 when nothing came within the window."""
    lesson: float
    """The reward that came, which is what policies learn from, whatever the metric."""
    lesson_ms: int
    """When it came; 0: none came, and nothing was learned."""


class Evidence(Struct, frozen=True, kw_only=True):
    """A placement's log."""

    rounds: tuple[Round, ...]
    """In the order of decisions."""
    left_out: dict[str, int]
    """Reason → decisions."""


REASONS = {
    "fallback": "decided by the fallback ladder, not by a policy",
    "open": "may still earn: their reward window is not over",
    "unreadable": "(or outcomes) of a form that this version does not know",
    "unscored": "hold the scores of their best candidates only (see docs/decisions.md)",
}


def joined(
    trails: Iterable[Trail],
    earned: Mapping[str, Sequence[Earned]],
    metric: str,
    window_ms: int,
    now_ms: int,
    unreadable: int = 0,
) -> Evidence:
    """Join decisions to outcomes.

    Args:
        trails: decisions of one placement.
        earned: decision's id → its outcomes.
        metric: which of them count.
        window_ms: time after a decision in which an outcome may come.
        now_ms: unix ms; the log ends here.
        unreadable: rows that could not be read, for the count.
    """
    rounds, left_out = [], {**dict.fromkeys(REASONS, 0), "unreadable": unreadable}
    for trail in sorted(trails, key=lambda one: (one.decided_ms, one.id)):
        own = [one for one in earned.get(trail.id, ()) if one.item == trail.items[0]]
        came = [one for one in own if one.metric == metric]
        if trail.fallback:
            left_out["fallback"] += 1
        elif not came and now_ms < trail.decided_ms + window_ms:
            left_out["open"] += 1
        elif len(trail.top) < trail.candidates or trail.items[0] not in {scored.item for scored in trail.top}:
            left_out["unscored"] += 1
        else:
            lesson = next((one for one in own if one.metric == REWARD), None)
            lesson_ms = max(lesson.happened_ms, trail.decided_ms) if lesson is not None else 0
            value = lesson.value if lesson is not None else 0.0
            rounds.append(Round(trail, came[0].value if came else 0.0, value, lesson_ms))
    return Evidence(rounds=tuple(rounds), left_out={reason: count for reason, count in left_out.items() if count})
