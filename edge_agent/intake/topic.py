"""Which source, or which of our own doors, a topic belongs to."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Door = Literal["event", "feedback", "consent", "request", "desired", "replay"]


class Route(Struct, frozen=True):
    """Where a message goes."""

    door: Door
    name: str
    """The source's or placement's name, or the subject of a consent."""


class Topics:
    """Matches topics to routes; wildcard matches are remembered up to a bound."""

    def __init__(
        self, sources: Sequence[tuple[str, str]], placements: Sequence[str], prefix: str, remembered_max: int
    ) -> None:
        """Compile the filters.

        Args:
            sources: (topic filter with `{device}` already replaced, source name), first match wins.
            placements: names that may be requested.
            prefix: this device's own topics, such as `edgeward/1/home-1`.
            remembered_max: matches kept.
        """
        self._known: dict[str, Route | None] = {
            f"{prefix}/feedback": Route("feedback", ""),
            f"{prefix}/desired": Route("desired", ""),
            **{f"{prefix}/request/{name}": Route("request", name) for name in placements},
        }
        self._consent = f"{prefix}/consent/"
        self._filters = [(_levels(flt), Route("event", name)) for flt, name in sources]
        self._fixed = len(self._known)
        self._max = remembered_max

    def route(self, topic: str) -> Route | None:
        """The route, or None when the topic is nobody's."""
        try:
            return self._known[topic]
        except KeyError:
            pass
        found = self._search(topic)
        if found is None or found.door == "event":
            if len(self._known) >= self._max + self._fixed:
                for old in list(self._known)[self._fixed : self._fixed + self._max // 2]:
                    del self._known[old]
            self._known[topic] = found
        return found

    def _search(self, topic: str) -> Route | None:
        if topic.startswith(self._consent) and len(topic) > len(self._consent):
            return Route("consent", topic[len(self._consent) :])
        levels = topic.split("/")
        return next((route for flt, route in self._filters if _matches(flt, levels)), None)


def _levels(flt: str) -> list[str]:
    parts = flt.split("/")
    # A shared subscription's own two levels are the broker's business: topics come without them.
    return parts[2:] if parts[0] == "$share" else parts


def _matches(flt: Sequence[str], levels: Sequence[str]) -> bool:
    """MQTT 5, section 4.7: `+` is one level, `#` the rest; neither matches a leading `$`."""
    if levels[0].startswith("$") and flt[0] in {"+", "#"}:
        return False
    for n, part in enumerate(flt):
        if part == "#":
            return True
        if n >= len(levels) or (part not in {"+", levels[n]}):
            return False
    return len(flt) == len(levels)
