"""Finds the message that a broker answers by hanging up, so that it does not hold up all others for ever.

Some brokers close the connection on a message that they do not allow or cannot take, and say nothing (MQTT 3.1.1
has no word for it). Such a message would be sent again on every new connection. After `BURSTS_MAX` hang-ups with
several messages on their way they are sent one at a time; the one that the broker hangs up on `STRIKES_MAX` times in
a row, alone, is given up by name. A line that holds clears all suspicion.
"""

BURSTS_MAX = 2
STRIKES_MAX = 3


class Suspect:
    """Which message was on its way when the broker hung up, and how often."""

    def __init__(self) -> None:
        self._bursts = self._strikes = self._entry = 0

    @property
    def cautious(self) -> bool:
        """Whether messages are to be sent one at a time."""
        return self._bursts >= BURSTS_MAX or self._strikes > 0

    def hung_up(self, in_flight: list[int]) -> int | None:
        """The broker closed the line.

        Args:
            in_flight: outbox entries that were sent and not acknowledged.
        Returns:
            The entry that is to be given up, or None.
        """
        if len(in_flight) > 1:
            self._bursts += 1
        if len(in_flight) != 1:
            return None
        entry = in_flight[0]
        self._strikes = self._strikes + 1 if entry == self._entry else 1
        self._entry = entry
        if self._strikes < STRIKES_MAX:
            return None
        self.clear()
        return entry

    def clear(self) -> None:
        """The line holds: nobody is suspected."""
        self._bursts = self._strikes = self._entry = 0
