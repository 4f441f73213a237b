"""A round's life, as a table: everything that changes a round's state lives in this file.

planned → open → closing → aggregated → accounted → published, and from each but the last → abandoned.

What is true once a state has been written down, also after a crash:

planned     the round's number is taken.
open        the nodes are chosen; some may have been asked.
closing     the reports are here, and kept where they may be.
aggregated  the result is on disk; for a private run, its cost was entered before.
accounted   the cost is in the account, and the next round may start from the result.
published   the result is part of a signed version.
abandoned   nothing of it is used.
"""

from collections.abc import Sequence
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
BACK_OFF_MAX_S = 600.0
ENDED: frozenset[State] = frozenset({"published", "abandoned"})


class Round(Struct, frozen=True, kw_only=True, rename={"number": "round"}):
    """One round of a run."""

    run: str
    number: int
    """From 1."""
    attempt: int = 1
    """From 1; the earlier ones of this number were abandoned."""
    state: State = "planned"
    unfit: int = 0
    """Nodes that were online and not asked, because the run is not for them."""
    asked: int = 0
    """Nodes that were sent the round's message."""
    reports: int = 0
    """Replies that were aggregated."""
    refused: int = 0
    """Replies that said no, with a reason, and replies that were not usable."""
    staleness: float = 0.0
    """Of an asynchronous version: mean age of what its reports started from, in versions."""
    late: int = 0
    """Replies that came after the round had closed; they are used for nothing."""
    late_devices: tuple[str, ...] = ()
    """Whose they were; of a private round nobody is named, because who was asked is a secret."""
    loss_before: float = 0.0
    loss_after: float = 0.0
    """Weighted means of what the devices reported."""
    bytes_up: int = 0
    bytes_down: int = 0
    """Tensor bytes from and to the devices."""
    seconds: float = 0.0
    checkpoint: str = ""
    """sha256 (hex) of the file of its result, once it is aggregated."""
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


Course = Literal["again", "combine", "account", "done", "lost"]


def course(row: Round | None, *, kept: bool, released: bool) -> Course:
    """How a run that was cut off goes on with a round.

    Args:
        row: its newest attempt; None: there was none.
        kept: its reports, or their sum, lie on disk.
        released: the coordinator may have seen a sum that its privacy was spent for (noise of the devices, unmasked).
    Returns:
        again: a new attempt. combine: from the kept reports. account: from its result. done: nothing.
        lost: neither again, because that would release a second sum for one price, nor used.
    """
    if row is None:
        return "again"
    match row.state:
        case "accounted" | "published":
            return "done"
        case "aggregated":
            return "account"
        case "closing" if kept:
            return "combine"
        case _:
            return "lost" if released else "again"


def done_of(rows: Sequence[Round]) -> list[Round]:
    """The rounds whose result stands."""
    return [row for row in rows if row.state in ("accounted", "published")]


def begun(rows: Sequence[Round]) -> bool:
    """Whether there is something to go on from: reports are here, kept or paid for, or a result is."""
    return any(row.state in ("closing", "aggregated", "accounted", "published") for row in rows)


def again(row: Round) -> Round:
    """The next attempt of an abandoned round."""
    return Round(run=row.run, number=row.number, attempt=row.attempt + 1)


def back_off_s(first_s: float, attempt: int) -> float:
    """Seconds before the attempt after this one: twice as long each time, up to `BACK_OFF_MAX_S`."""
    return float(min(BACK_OFF_MAX_S, first_s * 2.0 ** min(attempt - 1, 30)))
