"""The network between a device and the world: delay, loss, a narrow link, NAT, and being cut off. Pure."""

import heapq
from collections.abc import Iterator
from random import Random

from msgspec import Struct

from tests.chaos.packets import SYN, segment

QUEUE_S = 1.0
"""A router's buffer: what would wait longer is dropped at its tail."""


class Road(Struct, frozen=True, kw_only=True):
    """How one device's line is now; the same both ways."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """At most so much more; packets stay in order."""
    loss: float = 0.0
    """Share of the packets that never arrive."""
    bytes_s: float = 0.0
    """What the link carries; 0: all."""
    nat_s: float = 0.0
    """A gateway forgets a connection that was silent for so long, and says nothing; 0: there is none."""
    is_cut: bool = False
    """Nothing passes, and nobody is told."""


class Lane:
    """One direction of a road."""

    def __init__(self) -> None:
        self.free_s = self.last_s = 0.0

    def due(self, road: Road, size: int, now_s: float, dice: Random) -> float | None:
        """When a packet arrives; None: it is lost."""
        if road.is_cut or dice.random() < road.loss:
            return None
        leaves = max(now_s, self.free_s)
        if leaves - now_s > QUEUE_S:
            return None
        self.free_s = leaves + (size / road.bytes_s if road.bytes_s else 0.0)
        arrives = self.free_s + road.delay_s + dice.random() * road.jitter_s
        self.last_s = max(self.last_s, arrives)
        return self.last_s


class Gateway:
    """NAT's memory: which connections of a device it knows."""

    def __init__(self) -> None:
        self._seen_s: dict[tuple[str, int, int], float] = {}

    def forget(self) -> None:
        """It was switched off and on."""
        self._seen_s.clear()

    def passes(self, packet: bytes, *, out: bool, nat_s: float, now_s: float) -> bool:
        """Whether a packet goes through; one from inside that opens a connection always does.

        Args:
            out: from the device.
            nat_s: silence after which it forgets; 0: never.
        """
        one = segment(packet)
        if one is None:
            return True
        flow = one.flow if out else (one.source, one.source_port, one.port)
        known = flow in self._seen_s and not (nat_s and now_s - self._seen_s[flow] > nat_s)
        if not known and not (out and one.flags & SYN):
            return False
        self._seen_s[flow] = now_s
        return True


class Crossing:
    """All roads, and what is under way on them.

    Attributes:
        dropped: packets that were lost on purpose.
    """

    def __init__(self, devices: int, seed: int) -> None:
        """Args:
        devices: how many roads.
        seed: a road's dice are its own; what it drops still depends on what the kernel sends when.
        """
        self.roads = [Road() for _ in range(devices)]
        self.dropped = 0
        self._dice = [Random(f"{seed}:{number}") for number in range(devices)]  # noqa: S311
        self._lanes = [(Lane(), Lane()) for _ in range(devices)]
        self.gateways = [Gateway() for _ in range(devices)]
        self._under_way: list[tuple[float, int, int, bool, bytes]] = []
        self._count = 0

    def enter(self, number: int, packet: bytes, now_s: float, *, out: bool) -> None:
        """A packet of a device (`out`), or for one."""
        road = self.roads[number]
        due = None
        if self.gateways[number].passes(packet, out=out, nat_s=road.nat_s, now_s=now_s):
            due = self._lanes[number][out].due(road, len(packet), now_s, self._dice[number])
        if due is None:
            self.dropped += 1
            return
        self._count += 1
        heapq.heappush(self._under_way, (due, self._count, number, out, packet))

    def arrived(self, now_s: float) -> Iterator[tuple[int, bool, bytes]]:
        """(device, whether it leaves it, packet) of all that is due; what a cut line carries is lost, too."""
        while self._under_way and self._under_way[0][0] <= now_s:
            _, _, number, out, packet = heapq.heappop(self._under_way)
            if self.roads[number].is_cut:
                self.dropped += 1
            else:
                yield number, out, packet

    def wait_s(self, now_s: float, most: float) -> float:
        """Until the next one is due."""
        return max(0.0, min(most, self._under_way[0][0] - now_s)) if self._under_way else most
