"""What the loop sleeps on: the line, the children, those who ask how it is, and a pipe that wakes it."""

import contextlib
import os
import select
import socket
from collections.abc import Mapping


class Vigil:
    """One poll object, made anew only when what is watched changes."""

    def __init__(self) -> None:
        self._awake, self._waker = os.pipe()
        os.set_blocking(self._awake, False)
        os.set_blocking(self._waker, False)
        self._poll = select.poll()
        self._poll_of: tuple[tuple[int, bool], Mapping[int, bool]] | None = None

    def wake(self) -> None:
        """End the sleep; may be called from a thread or a signal's handler."""
        with contextlib.suppress(OSError):  # closed: whoever dialled until now has nobody to wake
            os.write(self._waker, b"!")

    def close(self) -> None:
        """Let go of the pipe; there is no sleep after it."""
        ends, self._awake, self._waker = (self._awake, self._waker), -1, -1
        for descriptor in ends:
            os.close(descriptor)

    def sleep(
        self, seconds: float, opened: socket.socket | None, wants_write: bool, children: Mapping[int, bool]
    ) -> list[int]:
        """Until something is ready, or `seconds` are over.

        Args:
            opened: the line's socket.
            wants_write: whether bytes wait for it.
            children: file descriptor → whether to wait for writing (else for reading).
        Returns:
            The file descriptors that are ready.
        """
        line = (opened.fileno(), wants_write) if opened is not None else (-1, False)
        if (line, children) != self._poll_of:
            self._watch(line, children)
        ready = [descriptor for descriptor, _ in self._poll.poll(seconds * 1_000)]
        if self._awake in ready:
            os.read(self._awake, 4_096)
        return ready

    def _watch(self, line: tuple[int, bool], children: Mapping[int, bool]) -> None:
        self._poll_of = (line, children)
        self._poll = select.poll()
        self._poll.register(self._awake, select.POLLIN)
        if line[0] >= 0:
            self._poll.register(line[0], select.POLLIN | (select.POLLOUT if line[1] else 0))
        for descriptor, writing in children.items():
            self._poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
