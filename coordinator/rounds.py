"""A round's life, as a table: everything that changes a round's state lives in this file.

planned → open → closing → aggregated → accounted → published, and from each but the last → abandoned.
"""

from typing import Literal

from msgspec import Struct, structs

from coordinator.errors import RoundStateInvalid

State = Literal["planned", "open", "closing", "aggregated", "accounted", "published", "abandoned"]

NEXT: dict[State, tuple[State, ...]] = {
    "planned": ("open", "abandoned"),
    "open": ("closing", "abandoned"),
    "closing": ("aggregated", "abandoned"),
    "aggregated": ("accounted", "abandoned"),
    "accounted": ("published", "abandoned"),
    "published": (),
    "abandoned": (),
}
ENDED: frozenset[State] = frozenset({"published", "abandoned"})


class Round(Struct, frozen=True, kw_only=True, rename={"number": "round"}):
    """One round of a run."""

    run: str
    number: int
    """From 1."""
    state: State = "planned"
    asked: int = 0
    """Nodes that were sent the round's message."""
    reports: int = 0
    """Replies that were aggregated."""
    refused: int = 0
    """Replies that said no, with a reason, and replies that were not usable."""
    staleness: float = 0.0
    """Of an asynchronous version: mean age of what its reports started from, in versions."""
    loss_before: float = 0.0
    loss_after: float = 0.0
    """Weighted means of what the devices reported."""
    bytes_up: int = 0
    bytes_down: int = 0
    """Tensor bytes from and to the devices."""
    seconds: float = 0.0
    reason: str = ""
    """Why it was abandoned."""


def advance(row: Round, state: State) -> Round:
    """The round in its next state.

    Raises:
        RoundStateInvalid: the table has no such step.
    """
    if state not in NEXT[row.state]:
        raise RoundStateInvalid(
            f"round {row.number} of {row.run} is {row.state} and cannot become {state}",
            hint=f"possible: {', '.join(NEXT[row.state]) or 'nothing, it has ended'}",
        )
    return structs.replace(row, state=state)


def abandon(row: Round, reason: str) -> Round:
    """The round, given up; its updates are used for nothing."""
    return structs.replace(advance(row, "abandoned"), reason=reason)
