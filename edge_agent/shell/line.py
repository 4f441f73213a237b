"""What the loop needs of a line to the broker: `mqtt.Link` is one, the simulator's is the other."""

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from edge_agent.errors import BrokerError
from edge_agent.happenings import Message
from edge_agent.shell.writes import OutboxRow

State = Literal["down", "dialling", "greeting", "up"]


class Arrived(Struct, frozen=True, array_like=True):
    """A message, and what its acknowledgement needs."""

    message: Message
    mid: int
    line: int
    """Which connection brought it."""


class Line(Protocol):
    """One persistent session with the broker.

    Attributes:
        state: down, dialling (a thread connects), greeting (CONNECT is sent), up.
        greeted: set by a connect, for the loop to take: whether the broker remembered our session.
        fault: why there is no line; None when there is one.
        refused: what the broker did not take since this was last taken; each different one is told once a connection.
        settled_ms: unix ms, for what has expired; the loop gives it its own.
        delivered: outbox entries that are done with since they were last taken.
    """

    state: State
    greeted: bool | None
    fault: BrokerError | None
    refused: list[BrokerError]
    settled_ms: Callable[[], int]
    delivered: list[int]

    @property
    def socket(self) -> socket.socket | None:
        """The connected socket, to wait on; None while there is none or a thread dials."""

    @property
    def wants_write(self) -> bool:
        """Whether something waits for the socket to take it."""

    @property
    def holds_messages(self) -> bool:
        """Whether something that was read waits for the next `drain`."""

    @property
    def room(self) -> int:
        """How many more messages may be published before the broker acknowledges some."""

    @property
    def in_flight(self) -> frozenset[int]:
        """Outbox entries that this connection has been given and that are not yet deleted."""

    def tend(self, now_s: float, /) -> None:
        """Dial when it is time, probe a silent line, give up on a broker that does not greet.

        Args:
            now_s: monotonic seconds.
        """

    def drain(self, most: int, /) -> list[Arrived]:
        """Read until there is nothing more, or `most` messages are there."""

    def acknowledge(self, arrived: Iterable[Arrived], /) -> None:
        """Acknowledge in order of arrival, after the commit; what an earlier line brought comes again anyway."""

    def publish(self, row: OutboxRow, /) -> bool:
        """Hand one message of the outbox to the broker; `delivered` tells when it has it.

        Returns:
            False: not now, try again later.
        """

    def flush(self) -> None:
        """Write what the socket takes now."""

    def subscribe(self, filters: Mapping[str, int], stale: Iterable[str], then: Callable[[], None], /) -> None:
        """Ask for `filters` (topic filter → QoS), and no more for `stale` ones; `then` once the broker has answered."""

    def close(self, seconds: float, /) -> None:
        """Leave so that the broker publishes our last will, and wait for the bytes to leave."""
