"""Numbers in place of topic names, for one connection; paho leaves both directions to us. Source: MQTT 5, 3.3.2.3.4."""

from edge_agent.shell.properties import ALIASES

WORTH_BYTES = 4
"""A number takes three bytes itself."""


class Aliases:
    """What the broker numbers for us, and what we number for it."""

    def __init__(self) -> None:
        self.allowed = 0
        """How many of our topics the broker remembers a number for."""
        self._theirs: dict[int, str] = {}
        self._ours: dict[str, int] = {}
        self._known: set[str] = set()

    def named(self, topic: str, number: int) -> str | None:
        """The topic of a message that came with `number`; None: it names nothing."""
        if not 0 < number <= ALIASES:
            return None
        if topic:
            self._theirs[number] = topic
        return self._theirs.get(number)

    def numbered(self, topic: str) -> tuple[str, int]:
        """(name to send, its number); a number goes alone once the broker has taken a message that told it."""
        number = self._ours.get(topic, 0)
        if number:
            return ("" if topic in self._known else topic), number
        if len(self._ours) < self.allowed and len(topic) >= WORTH_BYTES:
            number = self._ours[topic] = len(self._ours) + 1
        return topic, number

    def taken(self, topic: str) -> None:
        """The broker took a message to `topic`, and its number with it."""
        if topic in self._ours:
            self._known.add(topic)
