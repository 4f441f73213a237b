"""Which retained event of each topic was taken: brokers deliver it again with every subscription, for years."""

from collections import OrderedDict

import msgspec

PREFIX = "retained\x00"
"""Of its rows in the room `meta`."""

_decoder = msgspec.msgpack.Decoder(tuple[str, str])


class Retained:
    """Remembers, for each topic, the retained event and the newest other one that were taken.

    Under MQTT 5 a retained event says so also when it comes live. Under 3.1.1 it does not: there the newest event of a
    topic may be the one that the broker retains. The window of ids forgets after a while, this does not; it is
    bounded by the number of topics, and the least recently used go first.
    """

    def __init__(self, topics_max: int) -> None:
        self._max = topics_max
        self._taken: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def restore(self, topic: str, row: bytes) -> None:
        """Take up a row again."""
        self._taken[topic] = _decoder.decode(row)

    def knows(self, topic: str) -> bool:
        """Whether a retained event came on this topic."""
        return topic in self._taken and bool(self._taken[topic][0])

    def again(self, topic: str, identity: str) -> bool:
        """Whether a retained event was taken before."""
        return identity in self._taken.get(topic, ())

    def take(self, topic: str, identity: str, *, retained: bool) -> tuple[bytes | None, str]:
        """Remember an event.

        Returns:
            The row to store, None where no retained event of this topic is known; and the topic that had to go.
        """
        kept, live = self._taken.get(topic, ("", ""))
        self._taken[topic] = pair = (identity, live) if retained else (kept, identity)
        self._taken.move_to_end(topic)
        gone = self._taken.popitem(last=False)[0] if len(self._taken) > self._max else ""
        return (msgspec.msgpack.encode(pair) if pair[0] else None), gone
