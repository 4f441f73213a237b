"""Devices that take every offer, each with the real learner in a thread: processes would take most of the time."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.shell.home import endpoints_of
from coordinator.shell.registry_store import Registry
from coordinator.shell.store import Store
from edge_agent.errors import SuperLinkUnreachable
from edge_agent.shell import learner
from edge_agent.shell.pipe import AskEgress, EgressAnswer, ToParent
from tests.coordinator.fleet import Device

POLL_S = 0.1
OPEN_S = 300.0
"""How long a learner stays with an offer at most: on a busy machine two rounds take minutes."""


class Line:
    """The learner's line to an agent that grants everything."""

    def __init__(self) -> None:
        self._answers: deque[EgressAnswer] = deque()
        self.entered = 0

    def send(self, word: ToParent) -> None:
        if isinstance(word, AskEgress):
            self.entered += 1
            self._answers.append(EgressAnswer(token=word.token, granted=True))

    def receive(self) -> EgressAnswer | None:
        return self._answers.popleft() if self._answers else None


@contextmanager
def living(home: Path, devices: list[Device]) -> Iterator[None]:
    """The devices live: whatever they are offered, they learn, whatever becomes of the coordinator meanwhile."""
    ended = threading.Event()
    threads = [threading.Thread(target=_live, args=(home, device, ended), daemon=True) for device in devices]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)


def _live(home: Path, device: Device, ended: threading.Event) -> None:
    store, known = Store(home), ""
    while not ended.wait(POLL_S):
        offer = store.desired(device.name).offer
        if offer is None or offer.run == known:
            continue
        known = offer.run
        path = Registry.existing(home).find(offer.bundle, offer.version)
        closes_ms = min(offer.closes_ms, int((time.time() + OPEN_S) * 1_000))
        task = device.task(
            offer, endpoints_of(home).ca, version=offer.version, path=str(path), k_min=1, closes_ms=closes_ms
        )
        try:
            learner._learn(task, Line())  # type: ignore[arg-type]
        except SuperLinkUnreachable:
            known = ""  # as the agent starts a learner again that was cut
        except Exception:  # noqa: BLE001, S110 - what becomes of one round is the business of the next offer
            pass
