"""ε of many accounts without waiting for it: a child that ends does the sums, with the library that takes 100 MB.

`python -m coordinator.shell.dashboard.reckoning` is the child: tasks in, numbers out, as msgpack.
"""

import math
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from coordinator.accountant import Accountant, Spend

KEPT_MAX = 10_000
BATCH_MAX = 64
CHILD_S = 120.0


class Task(Struct, frozen=True, array_like=True):
    """One account to be reckoned."""

    spends: tuple[Spend, ...]
    delta: float
    accountant: Accountant

    @property
    def key(self) -> bytes:
        return msgspec.msgpack.encode(self)


class Reckoner:
    """Tells ε where it is known, and finds it out where it is not.

    Args:
        ready: called from another thread whenever more is known.
    """

    def __init__(self, ready: Callable[[], None]) -> None:
        self._ready = ready
        self._known: dict[bytes, float] = {}
        self._wanted: dict[bytes, Task] = {}
        self._at_work = False
        self._lock = threading.Lock()

    def __call__(self, spends: Sequence[Spend], delta: float, accountant: Accountant) -> float:
        """ε, or for now a number that is none; a `coordinator.shell.told.Reckon`."""
        task = Task(tuple(spends), delta, accountant)
        with self._lock:
            if (known := self._known.get(task.key)) is not None:
                return known
            self._wanted[task.key] = task
            if not self._at_work:
                self._at_work = True
                threading.Thread(target=self._work, name="reckoning", daemon=True).start()
        return math.nan

    def _work(self) -> None:
        while True:
            with self._lock:
                batch = dict(list(self._wanted.items())[:BATCH_MAX])
                if not batch:
                    self._at_work = False
                    return
            found = _asked(list(batch.values()))
            with self._lock:
                if len(self._known) > KEPT_MAX:
                    self._known.clear()
                # What cannot be reckoned is not asked for again and again.
                self._known |= dict(zip(batch, found or [math.inf] * len(batch), strict=True))
                self._wanted = {key: task for key, task in self._wanted.items() if key not in batch}
            self._ready()


def _asked(tasks: list[Task]) -> list[float]:
    """What the child says; empty when it fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "coordinator.shell.dashboard.reckoning"],
            input=msgspec.msgpack.encode(tasks),
            capture_output=True,
            check=True,
            timeout=CHILD_S,
        )
        return msgspec.msgpack.decode(done.stdout, type=list[float])
    except (subprocess.SubprocessError, OSError, msgspec.MsgspecError):
        return []


def main() -> None:
    """The child."""
    from coordinator.accountant import epsilon

    tasks = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[Task])
    found = [epsilon(task.spends, task.delta, task.accountant) for task in tasks]
    sys.stdout.buffer.write(msgspec.msgpack.encode(found))


if __name__ == "__main__":
    main()
