"""The other end of the line, byte by byte: a TCP server that says what a test wants it to say."""

import socket
import threading
import time
from collections.abc import Callable

from edge_agent.settings import Broker
from edge_agent.shell.line import Arrived
from edge_agent.shell.mqtt import Link

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, DISCONNECT = 1, 2, 3, 4, 8, 9, 14
GREETING_5 = b"\x20\x03\x00\x00\x00"
GREETING_311 = b"\x20\x02\x00\x00"
SECONDS = 10.0

Talk = Callable[[socket.socket, int], None]
"""(connection, how many there were before it)."""


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """One MQTT packet; at most 16,383 bytes of body."""
    size = len(body)
    length = bytes([size]) if size < 128 else bytes([size % 128 | 128, size // 128])
    return bytes([kind << 4 | flags]) + length + body


def text(words: str) -> bytes:
    """A UTF-8 string as MQTT writes it."""
    raw = words.encode()
    return len(raw).to_bytes(2, "big") + raw


def hear(connection: socket.socket) -> tuple[int, bytes]:
    """The next packet that the client sent: (kind, body); (0, b"") when it is gone."""
    first = connection.recv(1)
    if not first:
        return 0, b""
    size = shift = 0
    while True:
        byte = connection.recv(1)
        if not byte:
            return 0, b""
        size |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            break
    body = b""
    while len(body) < size:
        body += connection.recv(size - len(body)) or b"\x00"
    return first[0] >> 4, body


class Stranger:
    """Listens, and talks to each connection on a thread of its own until the talk is over."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        count = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection, count), daemon=True).start()
            count += 1

    def _answer(self, connection: socket.socket, before: int) -> None:
        with connection:
            connection.settimeout(SECONDS)
            try:
                self._talk(connection, before)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
            except OSError:
                return

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


class Line:
    """A real line, whose time is the test's."""

    def __init__(self, port: int, scheme: str = "mqtt", **settings: object) -> None:
        broker = Broker(url=f"{scheme}://127.0.0.1:{port}", **settings)  # type: ignore[arg-type]
        self.link = Link(broker, "d", None, lambda: int(time.time() * 1_000), lambda: None)
        self.now_s = 0.0
        self.arrived: list[Arrived] = []
        self.told: list[str] = []

    def turn(self) -> None:
        """Once round, as the loop does."""
        self.link.tend(self.now_s)
        if self.link.fault is not None:
            words = f"{self.link.fault.code} {self.link.fault.what}; fix: {self.link.fault.hint}"
            if words not in self.told:
                self.told.append(words)
        self.arrived += self.link.drain(256)
        self.link.flush()
        self.told += [f"{one.code} {one.what}; fix: {one.hint}" for one in self.link.refused]
        self.link.refused.clear()

    def until(self, holds: Callable[[], object], seconds: float = SECONDS, *, hurry: float = 0.0) -> bool:
        """Turn until it holds; `hurry` seconds of the line's own time pass with each turn."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            self.now_s += hurry
            self.turn()
            time.sleep(0.001)
        return True

    def says(self, *words: str) -> bool:
        """Whether one thing that was told holds all of the words."""
        return any(all(word in line for word in words) for line in self.told)
