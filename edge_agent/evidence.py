"""Decisions and what they earned, joined: what a log can tell of another policy, and what of it cannot be used.

The first place of a slate is evaluated: its probability is exact. What a fallback decided was no policy's choice; a
decision whose reward window is still open has not earned yet; one that holds the scores of its best candidates only can
be made again by policies that go by the scores alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from edge_agent.decide.decision import Trail
from edge_agent.learn.earned import Earned
from edge_agent.observing import REWARD


class Lesson(NamedTuple):
    """A reward that came."""

    at_ms: int
    value: float


class Round(Struct, frozen=True):
    """One decision that can be evaluated, and its outcome."""

    trail: Trail
    earned: float
    """Of the metric, for the item in the first place, summed; what silence is worth, when nothing came in time."""
    lessons: tuple[Lesson, ...]
    """Rewards that came: what policies learn from, whatever the metric."""


class Evidence(Struct, frozen=True, kw_only=True):
    """A placement's log."""

    rounds: tuple[Round, ...]
    """In the order of decisions."""
    brief: tuple[Round, ...] = ()
    """Those whose trails hold only the best candidates."""
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
    rounds: list[Round] = []
    brief: list[Round] = []
    left_out = {**dict.fromkeys(REASONS, 0), "unreadable": unreadable}
    for trail in sorted(trails, key=lambda one: (one.decided_ms, one.id)):
        last_ms = trail.decided_ms + window_ms
        own = [e for e in earned.get(trail.id, ()) if e.item == trail.items[0] and e.happened_ms <= last_ms]
        came = [e for e in own if e.metric == metric]
        if trail.fallback:
            left_out["fallback"] += 1
        elif not came and now_ms < last_ms:
            left_out["open"] += 1
        else:
            lessons = [Lesson(max(e.happened_ms, trail.decided_ms), e.value) for e in own if e.metric == REWARD]
            value = sum(e.value for e in came)
            if trail.silence is not None and not lessons:
                # The device closes a window before it decides anything else in its last millisecond.
                lessons = [Lesson(last_ms - 1, trail.silence)]
                value = trail.silence if metric == REWARD else value
            (rounds if _whole(trail) else brief).append(Round(trail, value, tuple(lessons)))
    told = {reason: count for reason, count in left_out.items() if count}
    return Evidence(rounds=tuple(rounds), brief=tuple(brief), left_out=told)


def _whole(trail: Trail) -> bool:
    """Whether the trail holds all its candidates, what was decided among them."""
    return len(trail.top) >= trail.candidates and any(scored.item == trail.items[0] for scored in trail.top)
