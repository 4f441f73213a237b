"""When more comes than can be taken: critical events first, and of the others what the profile's rule keeps.

The broker queues what we do not read, so memory is bounded by the batch. But a queue that only grows ends in the
broker's own limit, and there nobody asks what was critical. So under pressure a source that the profile allows it
for is thinned out here, counted, and only here.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from edge_agent.limits import PRESSURE_TURNS

Overload = Literal["keep", "sample", "coalesce"]


class Rule(Struct, frozen=True):
    """What a source's events are worth under pressure."""

    overload: Overload
    every: int
    """For `sample`: one in this many is taken."""
    critical: bool


class Arrival(Struct, frozen=True, array_like=True):
    """A message of a batch."""

    source: str
    """Empty: no event, but consent, feedback, a request or a wish; it is always taken, and nothing overtakes it."""
    topic: str


class Pressure:
    """Whether more comes than is taken, and what is let go meanwhile."""

    def __init__(self, rules: Mapping[str, Rule], window: int) -> None:
        """Set up.

        Args:
            rules: by source.
            window: most messages that a batch can hold; a batch of half of it says that more is waiting.
        """
        self._rules = rules
        self._enough = max(2, window // 2)
        self._full_turns = 0
        self._skipped: dict[str, int] = {}

    @property
    def high(self) -> bool:
        """Whether the last batches were all full."""
        return self._full_turns >= PRESSURE_TURNS

    def observe(self, count: int) -> None:
        """Take note of a batch's size."""
        self._full_turns = min(self._full_turns + 1, PRESSURE_TURNS) if count >= self._enough else 0

    def relieve(self, batch: Sequence[Arrival]) -> tuple[list[int], dict[str, int]]:
        """What is taken of a batch under pressure.

        Returns:
            Places in the batch, in the order in which they are to be taken; and how many of each source are let go.
        """
        newest = {one.topic: place for place, one in enumerate(batch)}
        kept: list[int] = []
        urgent: list[int] = []
        rest: list[int] = []
        shed: dict[str, int] = {}
        for place, one in enumerate(batch):
            rule = self._rules.get(one.source)
            if rule is None:
                kept += [*urgent, *rest, place]
                urgent, rest = [], []
            elif rule.critical:
                urgent.append(place)
            elif self._takes(rule, one, newest[one.topic] == place):
                rest.append(place)
            else:
                shed[one.source] = shed.get(one.source, 0) + 1
        return [*kept, *urgent, *rest], shed

    def _takes(self, rule: Rule, one: Arrival, newest: bool) -> bool:
        match rule.overload:
            case "coalesce":
                return newest
            case "sample":
                count = self._skipped.get(one.source, 0)
                self._skipped[one.source] = (count + 1) % rule.every
                return count == 0
            case _:
                return True
