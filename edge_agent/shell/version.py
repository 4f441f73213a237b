"""Which version of MQTT the next connection speaks."""

from typing import Final

from paho.mqtt.enums import MQTTProtocolVersion

from edge_agent.shell.client import V5, V311

UNGREETED_MAX = 2
"""Brokers may hang up on a version that they do not know, or because they are just starting: ask again before that
is taken for an answer."""
_WANTED: Final = {"auto": V5, "5": V5, "3.1.1": V311}


def candidates(wanted: str) -> tuple[MQTTProtocolVersion, ...]:
    """The versions that `broker.protocol` allows, best first."""
    return (V5, V311) if wanted == "auto" else (_WANTED[wanted],)


class Version:
    """MQTT 5 where the broker speaks it; 3.1.1 where it says, or by hanging up lets us guess, that it does not."""

    def __init__(self, wanted: str) -> None:
        """Begin with what is wanted: `auto`, `5` or `3.1.1`."""
        self.now: MQTTProtocolVersion = _WANTED[wanted]
        self._auto = wanted == "auto"
        self._guessed = False
        self._ungreeted = 0

    def unsupported(self) -> bool:
        """The broker says that it does not speak this version; True: there is another to try."""
        if not self._auto or self.now == V311:
            return False
        self.now, self._guessed = V311, False
        return True

    def ungreeted(self) -> None:
        """The broker hung up without a word."""
        self._ungreeted += 1
        if self._ungreeted % UNGREETED_MAX == 0:
            self.silent()

    def silent(self) -> None:
        """The broker says nothing at all to this version."""
        if self._auto:
            self.now, self._guessed = (V311, True) if self.now == V5 else (V5, False)

    def greeted(self) -> None:
        """The broker accepted this version."""
        self._ungreeted = 0

    def parted(self) -> None:
        """A line that was up is gone; a guess is not trusted twice."""
        if self._guessed:
            self.now, self._guessed = V5, False
