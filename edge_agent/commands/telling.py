"""What `edge-agent explain` found: decisions with what came of them, and times that nothing was decided."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge_agent.decide.decision import Trail
from edge_agent.errors import DecisionUnknown
from edge_agent.explaining import in_words, nothing_in_words
from edge_agent.shell import inspect
from edge_agent.withheld import Withheld
from firmware_configs import shown


class Told(Struct, frozen=True, kw_only=True):
    """The same twice."""

    data: Any
    words: list[str]
    subjects: tuple[str, ...] = ()
    """Whom it is about, without repetition."""


def about(state_dir: Path, decision: str, event: str, placement: str) -> Told:
    """One decision, all about an event, or the newest of a placement.

    Raises:
        DecisionUnknown: nothing is known of it.
    """
    held = inspect.withheld_at(state_dir)
    if decision:
        trail = inspect.trail(state_dir, decision)
        return msgspec.structs.replace(_told(state_dir, trail, held), subjects=(trail.subject,))
    if event:
        trails = inspect.of_event(state_dir, event)
        nothing = [(name, one) for name, ones in held.items() for one in ones if inspect.is_about(one.event_id, event)]
    else:
        newest = inspect.last(state_dir, placement)
        trails = [newest] if newest else []
        since_ms = newest.decided_ms if newest else 0
        nothing = [(placement, one) for one in held.get(placement, ()) if one.at_ms >= since_ms]
    nothing = [(name, one) for name, one in nothing if not one.decision]
    if not trails and not nothing:
        what = f"event `{event}`" if event else f"placement `{placement}`"
        raise DecisionUnknown(f"nothing is known of {what} here", hint=_hint(held))
    told = [_told(state_dir, trail, held) for trail in trails]
    return Told(
        data={
            "decisions": [one.data for one in told],
            "nothing_decided": [{"placement": name, **msgspec.structs.asdict(one)} for name, one in nothing],
        },
        words=[
            *(line for one in told for line in one.words),
            *(shown.line(line) for name, one in nothing for line in nothing_in_words(name, one)),
        ],
        subjects=tuple(sorted({trail.subject for trail in trails} | {one.subject for _, one in nothing})),
    )


def _told(state_dir: Path, trail: Trail, held: dict[str, list[Withheld]]) -> Told:
    outcomes = inspect.outcomes_of(state_dir, trail.id)
    unsent = [one for one in held.get(trail.placement, ()) if one.decision == trail.id]
    if trail.kin:
        from edge_agent.shell.kin import named

        trail = named(state_dir, trail)
    data: dict[str, Any] = msgspec.to_builtins(trail)
    data["outcomes"] = [msgspec.structs.asdict(one) for one in outcomes]
    data["not_sent"] = [one.why for one in unsent]
    words = in_words(trail, outcomes, unsent)
    if trail.reach is not None:
        from edge_agent.shell.told import notes_of, reach_in_words

        notes = notes_of(state_dir, trail.id)
        data["reached"] = [{"time_ms": at_ms, "what": what} for at_ms, what in notes]
        words += reach_in_words(trail, notes)
    return Told(data=data, words=[shown.line(one) for one in words])


def _hint(held: dict[str, list[Withheld]]) -> str:
    known = ", ".join(sorted(held)) or "none yet"
    return f"only the newest are remembered; placements at which nothing was decided lately: {known}"
