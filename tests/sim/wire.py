"""A broker and a line to it that obey MQTT 5 and nothing else: they delay, repeat, reorder and go away."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from random import Random

from edge_agent.errors import BrokerError, BrokerUnreachable
from edge_agent.happenings import Message
from edge_agent.shell.line import Arrived, State
from edge_agent.shell.writes import OutboxRow

RECEIVE_MAXIMUM = 16


class Cut(Exception):
    """The process dies here."""


class Fuse:
    """Burns down by one at each boundary; at nought the process dies there."""

    def __init__(self) -> None:
        self.left = -1
        self.burnt: dict[str, int] = {}

    def at(self, boundary: str) -> None:
        """One boundary is reached."""
        if self.left < 0:
            return
        self.left -= 1
        if self.left < 0:
            self.burnt[boundary] = self.burnt.get(boundary, 0) + 1
            raise Cut(boundary)


class Broker:
    """One persistent session: what waits, what is open, what was acknowledged, and all that it received."""

    def __init__(self, prng: Random) -> None:
        self.reachable = True
        self.queue: deque[tuple[int, Message]] = deque()
        self.open: dict[int, tuple[int, Message]] = {}
        self.acknowledged: set[int] = set()
        self.received: list[OutboxRow] = []
        self._prng = prng
        self._number = 0
        self._mid = 0

    def take(self, message: Message) -> int:
        """A publisher's message; returns its number. Sometimes it overtakes others, or comes twice."""
        self._number += 1
        entry = (self._number, message)
        if self._prng.random() < 0.15 and self.queue:
            self.queue.insert(self._prng.randrange(len(self.queue) + 1), entry)
        else:
            self.queue.append(entry)
        if self._prng.random() < 0.05:
            self.queue.append(entry)
        return self._number

    def hand_out(self, most: int) -> list[tuple[int, Message]]:
        """(mid, message) of some that wait."""
        out = []
        for _ in range(min(most, len(self.queue), RECEIVE_MAXIMUM - len(self.open))):
            self._mid += 1
            self.open[self._mid] = self.queue.popleft()
            out.append((self._mid, self.open[self._mid][1]))
        return out

    def line_gone(self) -> None:
        """What was not acknowledged comes again, first and in order."""
        self.queue.extendleft(reversed(self.open.values()))
        self.open.clear()


class SimLink:
    """A `Line` to it, made for one life of the loop."""

    socket = None
    wants_write = holds_messages = False

    def __init__(self, broker: Broker, prng: Random, fuse: Fuse, wall_ms: Callable[[], int]) -> None:
        self.state: State = "down"
        self.line = 0
        self.greeted: bool | None = None
        self.fault: BrokerError | None = None
        self.refused: list[BrokerError] = []
        self.delivered: list[int] = []
        self.subscribed: dict[str, int] = {}
        self.told: Callable[[OutboxRow], None] = lambda _row: None
        self.on_acknowledge: Callable[[int, Message], None] = lambda _number, _message: None
        self._broker, self._prng, self._fuse, self.settled_ms = broker, prng, fuse, wall_ms
        self._wire: list[OutboxRow] = []
        self._answers: list[int] = []

    @property
    def room(self) -> int:
        return 8 - len(self._wire) - len(self._answers) if self.state == "up" else 0

    @property
    def in_flight(self) -> frozenset[int]:
        return frozenset((*(row[0] for row in self._wire), *self._answers, *self.delivered))

    def tend(self, _now_s: float) -> None:
        if not self._broker.reachable:
            self.drop()
        elif self.state == "down":
            self.state, self.fault, self.greeted = "up", None, True
            self.line += 1
        self._move()

    def _move(self) -> None:
        """Some of what was published arrives, and some of the answers come back."""
        while self._wire and self._prng.random() < 0.8:
            row = self._wire.pop(0)
            self._broker.received.append(row)
            self._answers.append(row[0])
        while self._answers and self._prng.random() < 0.8:
            self.delivered.append(self._answers.pop(0))

    def drop(self) -> None:
        """The line breaks: nobody knows what arrived."""
        if self.state == "up":
            self._broker.line_gone()
            self.state = "down"
            self.fault = BrokerUnreachable("the line broke", hint="wait")
            self._wire.clear()
            self._answers.clear()

    def drain(self, most: int) -> list[Arrived]:
        if self.state != "up":
            return []
        self._fuse.at("read")
        handed = self._broker.hand_out(min(most, self._prng.randrange(1, 12)))
        return [Arrived(message, mid, self.line) for mid, message in handed]

    def acknowledge(self, arrived: Iterable[Arrived]) -> None:
        for one in arrived:
            self._fuse.at("acknowledge")
            if one.line == self.line and self.state == "up" and one.mid in self._broker.open:
                number, message = self._broker.open.pop(one.mid)
                self._broker.acknowledged.add(number)
                self.on_acknowledge(number, message)

    def publish(self, row: OutboxRow) -> bool:
        self._fuse.at("publish")
        self.told(row)
        self._wire.append(row)
        return True

    def flush(self) -> None:
        self._fuse.at("flush")
        self._move()

    def subscribe(self, filters: Mapping[str, int], _stale: Iterable[str], then: Callable[[], None]) -> None:
        self.subscribed = dict(filters)
        then()

    def close(self, _seconds: float) -> None:
        self.drop()
