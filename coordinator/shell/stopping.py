"""Ctrl-C and SIGTERM at a command that has something to say before it ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came; whoever takes no notice of the difference takes it for Ctrl-C."""


@contextmanager
def heeded() -> Iterator[None]:
    """Within it SIGTERM raises `Terminated`, as Ctrl-C raises `KeyboardInterrupt`.

    Only a process's main thread can be told of signals: in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
