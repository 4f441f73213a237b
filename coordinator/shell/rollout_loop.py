"""The process that carries rollouts on: hears devices, steps, stores, and only then publishes what follows.

Everything that a step changes is one transaction, and what is to be published is a row of it. Whoever dies in between
leaves either the state before, with the same messages still retained by the broker, or the state after, with what is
due; both are taken up by the next one.
"""

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import structs

from coordinator.errors import AlreadyRunning, NotRunning
from coordinator.rollout.machine import ended, step
from coordinator.rollout.state import Heard, Observation, Presence, Rollout
from coordinator.shell.rollout_line import BrokerLine, Line, Said
from coordinator.shell.rollout_store import Entry, RolloutStore

TURN_S = 1.0
IDLE_TURNS = 5
"""Turns without anything to do after which the process ends."""
AGAIN_S = 2.0
"""Between two tries to reach a broker that is away."""


class RolloutLoop:
    """All open rollouts of a home, on one line to the broker."""

    def __init__(self, store: RolloutStore, line: Line, now_ms: Callable[[], int], say: Callable[[str], None]) -> None:
        self._store, self._line, self._now_ms, self._say = store, line, now_ms, say
        self._held: dict[str, Rollout] = {}
        self._reported: dict[str, Said] = {}
        self._online: dict[str, Said] = {}
        """Each device's newest words, for rollouts that begin later."""

    def turn(self, seconds: float = TURN_S) -> bool:
        """Hear for a while, and step every open rollout; False when there is nothing to do at all.

        Raises:
            NotRunning: the broker does not take what is wanted; it stays due.
        """
        said = self._line.hear(seconds)
        if not self._line.up:
            return True  # nobody is watching: no time passes, and nobody goes silent
        for one in said:
            (self._reported if one.online is None else self._online)[one.device] = one
        keys = self._store.open()
        for key in keys:
            self._step(key, said)
        for key in self._held.keys() - set(keys):
            del self._held[key]
        self.publish()
        return bool(keys)

    def publish(self) -> None:
        """Publish what is due."""
        if due := self._store.due():
            self._line.publish(due)
            self._store.published(due)

    def _step(self, key: str, said: list[Said]) -> None:
        before = self._held.get(key)
        if before is None:
            before = self._store.rollout(key)
            newest = [*self._reported.values(), *self._online.values()]
            said = [structs.replace(one, fresh=False) for one in newest]
        wishes = self._store.wishes(key)
        heard = [word for one in said if (word := _word(one, before)) is not None]
        made = step(before, [*heard, *(wish for _, wish in wishes)], self._now_ms())
        for entry in self._store.commit(before, made, [number for number, _ in wishes]):
            self._say(told(key, entry))
        self._held[key] = made.rollout
        if ended(made.rollout):
            self._held.pop(key)


def told(key: str, entry: Entry) -> str:
    """A line of the log for people."""
    note = entry.note
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(note.at_ms / 1_000))
    why = f": {note.why}" if note.why else ""
    named = ", ".join(note.devices[:6]) + (f" and {len(note.devices) - 6} more" if len(note.devices) > 6 else "")
    return f"{when}  {key}  {note.who}: {note.what}{why}{f' [{named}]' if named else ''}"


def _word(said: Said, rollout: Rollout) -> Observation | None:
    if said.device not in rollout.members:
        return None
    if said.online is not None:
        return Presence(device=said.device, online=said.online, fresh=said.fresh)
    if said.reported is None:
        return None
    return Heard(device=said.device, bundle=said.reported.bundles.get(rollout.plan.bundle), fresh=said.fresh)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold the home's rollouts: one process steps them.

    Raises:
        AlreadyRunning: another one does.
    """
    descriptor = os.open(home / "rollout.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(
            f"the rollouts of {home} are carried on by another process", hint="edge-coordinator up does it; use that"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def run(home: Path, broker: str, say: Callable[[str], None], *, forever: bool = False) -> None:
    """Carry on the rollouts of a home until there is nothing to do, or SIGINT or SIGTERM.

    Raises:
        AlreadyRunning: another process does.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with alone(home):
        store, idle = RolloutStore(home), 0
        while not stopping.is_set() and (forever or idle < IDLE_TURNS):
            with suppress(NotRunning), BrokerLine(broker, home) as line:
                loop = RolloutLoop(store, line, lambda: int(time.time() * 1_000), say)
                while not stopping.is_set() and (forever or idle < IDLE_TURNS):
                    idle = 0 if loop.turn() else idle + 1
                continue
            say(f"no broker at {broker}; trying again")
            idle = 0
            stopping.wait(AGAIN_S)
        store.close()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], lambda line: print(line, flush=True))
