"""The embedded broker's door: MQTT 5 goes through as it is, MQTT 3.1.1 is spoken on behalf of the client.

The broker speaks one version at a listener, and hangs up on a client of the other without a word. What older boards,
Node-RED and paho speak by default is 3.1.1, so their packets are put into the form of MQTT 5 here and back: properties
are added empty and taken away, reasons become return codes. Nothing is kept or decided; a packet is one packet.

Source: MQTT 5.0 and MQTT 3.1.1 (OASIS), chapter 3 of each.
"""

import argparse
import asyncio
import resource
import signal
import socket
from collections.abc import Callable

CONNECT, CONNACK, PUBLISH, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT = 1, 2, 3, 8, 9, 10, 11, 14
ACKS = frozenset({4, 5, 6, 7})
V311, V5 = 4, 5
REFUSED_VERSION = bytes([CONNACK << 4, 2, 0, 1])
"""A CONNACK of 3.1.1: unacceptable protocol version."""
PACKET_MAX = 1_500_000
CHUNK = 65_536
CONNECT_S = 60.0
RETURN_CODES = {0x84: 1, 0x85: 2, 0x86: 4, 0x87: 5, 0x8A: 5, 0x8C: 4}
"""Reason of an MQTT 5 CONNACK → return code of 3.1.1; others are `server unavailable`."""
UNAVAILABLE = 3
FAILED = 0x80
FOREVER = bytes([5, 0x11, 0xFF, 0xFF, 0xFF, 0xFF])
"""Properties of a CONNECT: the session never expires, as one of 3.1.1 that is not clean."""
NONE = b"\x00"
NEVER, LONGEST = b"\x00\x00", b"\xff\xff"
"""Keep-alives: the broker hangs up on who wants none, so that is 18 hours."""
Turn = Callable[[int, bytes], bytes | None]
"""First byte and body of a packet → the packet in the other version; None: there is none, and the line ends."""


class Malformed(Exception):
    """What came is no packet."""


def packed(first: int, body: bytes) -> bytes:
    """A packet with its length."""
    length, size = bytearray(), len(body)
    while True:
        size, low = divmod(size, 128)
        length.append(low | (0x80 if size else 0))
        if not size:
            return bytes([first]) + bytes(length) + body


def without_properties(body: bytes, at: int) -> bytes:
    """A body without the properties that begin there."""
    size, shift, start = 0, 0, at
    while True:
        if at >= len(body) or at - start > 3:
            raise Malformed
        size |= (body[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not body[at - 1] & 0x80:
            break
    if at + size > len(body):
        raise Malformed
    return body[:start] + body[at + size :]


def upwards(first: int, body: bytes) -> bytes:
    """A client's packet of 3.1.1 in MQTT 5.

    Raises:
        Malformed: it is none.
    """
    kind = first >> 4
    if kind == CONNECT:
        return packed(first, _connect(body))
    if kind == PUBLISH:
        at = _after_topic(first, body)
        return packed(first, body[:at] + NONE + body[at:])
    if kind in {SUBSCRIBE, UNSUBSCRIBE}:
        return packed(first, body[:2] + NONE + body[2:])
    return packed(first, body)


def downwards(first: int, body: bytes) -> bytes | None:
    """The broker's packet of MQTT 5 in 3.1.1; None for a goodbye, which 3.1.1 does not have.

    Raises:
        Malformed: it is none.
    """
    kind = first >> 4
    if kind == CONNACK:
        if len(body) < 2:
            raise Malformed
        code = RETURN_CODES.get(body[1], UNAVAILABLE) if body[1] else 0
        return packed(first, bytes([0 if code else body[0], code]))
    if kind == PUBLISH:
        return packed(first, without_properties(body, _after_topic(first, body)))
    if kind in ACKS or kind == UNSUBACK:
        return packed(first, body[:2])
    if kind == SUBACK:
        plain = without_properties(body, 2)
        return packed(first, plain[:2] + bytes(min(code, FAILED) for code in plain[2:]))
    return None if kind == DISCONNECT else packed(first, body)


def _after_topic(first: int, body: bytes) -> int:
    """Where the properties of a PUBLISH stand."""
    at = 2 + int.from_bytes(body[:2]) + (2 if first & 0x06 else 0)
    if at > len(body):
        raise Malformed
    return at


def _connect(body: bytes) -> bytes:
    name = 2 + int.from_bytes(body[:2])
    fixed = name + 4  # level, flags, keep-alive
    if fixed + 2 > len(body):
        raise Malformed
    flags, keep_alive = body[name + 1], body[name + 2 : fixed]
    if keep_alive == NEVER:
        keep_alive = LONGEST
    will = fixed + 2 + int.from_bytes(body[fixed : fixed + 2])  # after the client id
    if will > len(body):
        raise Malformed
    properties = NONE if flags & 0x02 else FOREVER
    own = body[fixed:will] + (NONE if flags & 0x04 else b"") + body[will:]
    return body[:name] + bytes([V5, flags]) + keep_alive + properties + own


def version_of(first: int, body: bytes) -> int:
    """The version that a CONNECT asks for; 0: it is no CONNECT, or of another protocol."""
    if first >> 4 != CONNECT or body[:6] != b"\x00\x04MQTT" or len(body) < 7:
        return 0
    return body[6]


class Line:
    """One side of a talk: what comes is acknowledged at once.

    Both ends keep back a small packet until the one before is acknowledged, which a kernel may put off for 40 ms
    (docs/adr/0009-the-embedded-broker-is-for-one-machine.md).
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._socket: socket.socket = writer.get_extra_info("socket")

    async def chunk(self) -> bytes:
        """Bytes as they come; none: it ended."""
        came = await self._reader.read(CHUNK)
        self._acknowledge()
        return came

    async def packet(self) -> tuple[int, bytes]:
        """(first byte, body) of the next packet.

        Raises:
            Malformed: its length is none, or too long.
            asyncio.IncompleteReadError: the line ended.
        """
        first = (await self._reader.readexactly(1))[0]
        size = shift = 0
        while True:
            byte = (await self._reader.readexactly(1))[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift > 21:
                raise Malformed
        if size > PACKET_MAX:
            raise Malformed
        body = await self._reader.readexactly(size)
        self._acknowledge()
        return first, body

    async def put(self, words: bytes) -> None:
        """Send, and wait while too much is on its way."""
        self._writer.write(words)
        await self._writer.drain()

    def close(self) -> None:
        """End it, once what was put is sent."""
        self._writer.close()

    def _acknowledge(self) -> None:
        if hasattr(socket, "TCP_QUICKACK"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def pass_on(here: Line, there: Line) -> None:
    """Bytes as they come, until the line ends."""
    while chunk := await here.chunk():
        await there.put(chunk)


async def turn_round(here: Line, there: Line, turn: Turn) -> None:
    """Packets in the other version, until the line or the talk ends."""
    while (told := turn(*await here.packet())) is not None:
        await there.put(told)


async def serve(client: Line, broker: tuple[str, int]) -> None:
    """One client, from its CONNECT to its end."""
    inner: Line | None = None
    try:
        first, body = await asyncio.wait_for(client.packet(), CONNECT_S)
        version = version_of(first, body)
        if version not in {V311, V5}:
            await client.put(REFUSED_VERSION)
            return
        inner = Line(*await asyncio.open_connection(*broker))
        await inner.put(packed(first, body) if version == V5 else upwards(first, body))
        if version == V5:
            ways = pass_on(client, inner), pass_on(inner, client)
        else:
            ways = turn_round(client, inner, upwards), turn_round(inner, client, downwards)
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    except (Malformed, OSError, TimeoutError, asyncio.IncompleteReadError):
        pass  # the client or the broker is gone, or speaks something else
    except asyncio.CancelledError:
        pass  # we stop; asyncio would log each client
    finally:
        for end in (client, inner):
            if end is not None:
                end.close()


async def run(listen: tuple[str, int], broker: tuple[str, int]) -> None:
    """Serve until SIGTERM or SIGINT."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a client takes two
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = await asyncio.start_server(
        lambda reader, writer: serve(Line(reader, writer), broker), *listen, backlog=1_024
    )
    async with server:
        await stopping.wait()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--broker-port", type=int, required=True, help="of the embedded broker, on loopback")
    given = parser.parse_args()
    asyncio.run(run((given.host, given.port), ("127.0.0.1", given.broker_port)))


if __name__ == "__main__":
    main()
