"""A connected socket's options and readiness, whatever paho wraps around it: TCP, TLS or a WebSocket."""

import os
import select
import socket

QUICK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux only."""


class Opened:
    """One connection's socket. `close` it: a WebSocket's is held twice."""

    def __init__(self, held: socket.socket) -> None:
        """Take what `paho` has connected."""
        self._held = held
        # paho's WebSocket has no options of its own.
        self._raw = held if hasattr(held, "setsockopt") else socket.socket(fileno=os.dup(held.fileno()))
        self._poll = select.poll()
        self._poll.register(held, select.POLLIN)
        # A decision is smaller than a segment: Nagle would hold the second one back.
        self._set(socket.TCP_NODELAY, 1)

    @property
    def readable(self) -> bool:
        """Whether there is something to read; TLS may hold back what the kernel has handed over already."""
        pending = getattr(self._held, "pending", None)
        return bool((pending is not None and pending()) or self._poll.poll(0))

    def acknowledge(self) -> None:
        """Ask the kernel to acknowledge now what was read.

        Brokers that leave Nagle's algorithm on (mosquitto by default, rumqttd always) hold the next small packet
        back until then, and Linux would wait 40 ms for company. The wish is forgotten after each read.
        """
        self._set(QUICK, 1)

    def _set(self, option: int | None, value: int) -> None:
        if option is None:
            return
        try:  # noqa: SIM105 - it is done once a reading
            self._raw.setsockopt(socket.IPPROTO_TCP, option, value)
        except OSError:
            pass

    def close(self) -> None:
        """Let go of what paho does not know of."""
        if self._raw is not self._held:
            self._raw.close()


def writable(held: socket.socket | None, seconds: float) -> bool:
    """Whether it takes bytes within `seconds`."""
    return held is not None and bool(select.select([], [held], [], max(0.0, seconds))[1])
