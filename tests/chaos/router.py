"""Carries packets between the devices' network namespaces and the hub's: `python -m tests.chaos.router`.

Each namespace has a TUN interface whose other end is here, so what is lost here was really sent, and the kernel's own
TCP has to get over it. Linux's netem would do the same; kernels of small machines and of sandboxes come without it.
Told what to do in lines of JSON on stdin; its end is the end of the network.
"""

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.chaos.roads import Crossing, Road
from tests.chaos.tap import Tap

TUNSETIFF, TUN_PLAIN = 0x400454CA, 0x1001
HUB, HUB_FACE, FACE = "10.77.0.1", "hub0", "wan0"
PACKET_BYTES_MAX = 2_048
AT_ONCE = 64
"""Packets of one interface before the others have their turn."""
WAIT_S = 0.5


class Begin(Struct, frozen=True, kw_only=True):
    """The first line."""

    devices: tuple[str, ...]
    seed: int
    broker: int
    registry: int
    superlink: int


class Order(Struct, frozen=True, kw_only=True):
    """Every further line; each is answered by one."""

    device: str = ""
    road: Road | None = None
    forget: bool = False
    """The gateway's memory."""
    report: str = ""
    """Folder in which a record for each device is left."""


def house(number: int) -> str:
    """A device's address."""
    return f"10.77.{1 + number // 200}.{1 + number % 200}"


class Router:
    """One loop over all interfaces."""

    def __init__(self, begin: Begin) -> None:
        self._devices = begin.devices
        self._crossing = Crossing(len(begin.devices), begin.seed)
        self._taps = [Tap(HUB, begin.broker, begin.registry, begin.superlink) for _ in begin.devices]
        self._hub = _face(HUB_FACE)
        _ip("address", "add", f"{HUB}/32", "dev", HUB_FACE)
        _ip("link", "set", HUB_FACE, "up")
        _ip("route", "add", "10.77.0.0/16", "dev", HUB_FACE)
        self._faces = [self._make(number, name) for number, name in enumerate(begin.devices)]
        self._numbers = {bytes(map(int, house(n).split("."))): n for n in range(len(begin.devices))}

    @staticmethod
    def _make(number: int, name: str) -> int:
        """A device's namespace, with one way out."""
        made = f"t{number}"
        opened = _face(made)
        _ip("netns", "add", name)
        _ip("link", "set", made, "netns", name, "name", FACE)
        _ip("-n", name, "address", "add", f"{house(number)}/32", "dev", FACE)
        for face in ("lo", FACE):
            _ip("-n", name, "link", "set", face, "up")
        _ip("-n", name, "route", "add", "default", "dev", FACE)
        return opened

    def run(self) -> None:
        """Until stdin ends."""
        poll = select.epoll()
        numbers = {opened: number for number, opened in enumerate(self._faces)}
        for opened in (*numbers, self._hub, sys.stdin.fileno()):
            poll.register(opened, select.EPOLLIN)
        told = b""
        while True:
            ready = poll.poll(self._crossing.wait_s(time.monotonic(), WAIT_S))
            for opened, _ in ready:
                if opened == sys.stdin.fileno():
                    more = os.read(opened, 65_536)
                    if not more:
                        return
                    *lines, told = (told + more).split(b"\n")
                    for line in lines:
                        self._obey(msgspec.json.decode(line, type=Order))
                else:
                    self._take(opened, numbers.get(opened))
            for number, out, packet in self._crossing.arrived(time.monotonic()):
                _write(self._hub if out else self._faces[number], packet)

    def _take(self, opened: int, number: int | None) -> None:
        for _ in range(AT_ONCE):
            try:
                packet = os.read(opened, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4:
                continue  # the kernels look for neighbours in IPv6; there are none
            now_s = time.monotonic()
            if number is not None:
                self._taps[number].hear(packet)
                self._crossing.enter(number, packet, now_s, out=True)
            elif (found := self._numbers.get(packet[16:20])) is not None:
                self._crossing.enter(found, packet, now_s, out=False)

    def _obey(self, order: Order) -> None:
        answer: dict[str, object] = {}
        if order.report:
            answer = self._report(Path(order.report))
        else:
            number = self._devices.index(order.device)
            if order.road is not None:
                self._crossing.roads[number] = order.road
            if order.forget:
                self._crossing.gateways[number].forget()
        print(json.dumps(answer), flush=True)

    def _report(self, folder: Path) -> dict[str, object]:
        for name, tap in zip(self._devices, self._taps, strict=True):
            tap.close()
            tap.record(folder / f"{name}.jsonl")
        sent = {name: dict(tap.sent) for name, tap in zip(self._devices, self._taps, strict=True)}
        return {"sent": sent, "dropped": self._crossing.dropped}


def _face(name: str) -> int:
    """A TUN interface in this namespace; returns our end of it."""
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(opened, TUNSETIFF, struct.pack("16sH22x", name.encode(), TUN_PLAIN))
    return opened


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _write(opened: int, packet: bytes) -> None:
    try:
        os.write(opened, packet)
    except OSError:
        return  # a full queue or an interface that is going: lost, as packets are


if __name__ == "__main__":
    router = Router(msgspec.json.decode(sys.stdin.buffer.readline(), type=Begin))
    print("{}", flush=True)
    router.run()
