"""Why nothing was decided: the newest times of each placement, for `edge-agent explain --event` and `--last`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from edge_agent.batch import Batch
from edge_agent.limits import WITHHELD_MAX

if TYPE_CHECKING:
    from edge_agent.agent import Agent
    from edge_agent.placements import Occasion

Kind = Literal["consent", "quiet-hours", "cap", "stop", "nothing", "actuator", "standing", "reason", "channels"]


class Withheld(Struct, frozen=True, array_like=True):
    """One time that nothing was decided, or nothing was switched."""

    kind: Kind
    why: str
    """In words."""
    event_id: str
    subject: str
    """Empty without consent: then nothing is kept of whom it was about."""
    at_ms: int
    decision: str = ""
    """Id of the decision whose command was not sent."""


def suppress(agent: "Agent", placement: str, occasion: "Occasion", kind: Kind, why: str, batch: Batch) -> None:
    """Count that nothing was decided, and note why."""
    agent.count("undecided" if kind == "nothing" else f"suppressed.{kind}")
    subject = "" if kind == "consent" else occasion.subject
    agent.withheld.note(placement, Withheld(kind, why, occasion.event_id, subject, batch.now_ms))


_decoder = msgspec.msgpack.Decoder(list[Withheld])


class WithheldLog:
    """The newest of each placement. It decides nothing, so it is written once a tick, and a crash forgets the last."""

    def __init__(self, recall: Callable[[str, str], bytes | None]) -> None:
        self._recall = recall
        self._held: dict[str, list[Withheld]] = {}
        self._changed: set[str] = set()

    def note(self, placement: str, one: Withheld) -> None:
        """One more."""
        held = self._held.get(placement)
        if held is None:
            packed = self._recall("withheld", placement)
            held = self._held[placement] = unpack(packed) if packed else []
        held.append(one)
        del held[:-WITHHELD_MAX]
        self._changed.add(placement)

    def keep(self, retention_ms: int, batch: Batch) -> None:
        """Write what has changed."""
        for placement in sorted(self._changed):
            packed = msgspec.msgpack.encode(self._held[placement])
            batch.put("withheld", placement, packed, batch.now_ms + retention_ms)
        self._changed.clear()


def unpack(packed: bytes) -> list[Withheld]:
    """What was written; nothing, where it cannot be read."""
    try:
        return _decoder.decode(packed)
    except msgspec.MsgspecError:
        return []
