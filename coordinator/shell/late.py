"""Replies that come after their round has closed: counted, and named where that tells no secret; used for nothing."""

import time
from collections.abc import Mapping

from flwr.serverapp import Grid

from coordinator.shell.store import Store

EVERY_S = 0.5
REST_S = 2.0
WATCHED_MAX = 100_000


class Late:
    """The questions of closed rounds that nobody has answered yet."""

    def __init__(self, grid: Grid, store: Store, run: str, *, name: bool) -> None:
        """Args:
        name: say whose replies they are; not where who was asked is a secret.
        """
        self._grid, self._store, self._run, self._name = grid, store, run, name
        self._waiting: dict[str, tuple[int, int]] = {}
        self._asked = 0.0

    def watch(self, number: int, unanswered: Mapping[str, int]) -> None:
        """From now on replies to these are late.

        Args:
            unanswered: message id → node.
        """
        for message, node in unanswered.items():
            if len(self._waiting) < WATCHED_MAX:
                self._waiting[message] = (number, node)

    def poll(self) -> None:
        """Take what has come, not more often than twice a second."""
        if not self._waiting or time.monotonic() - self._asked < EVERY_S:
            return
        self._asked = time.monotonic()
        came: dict[int, list[int]] = {}
        for reply in self._grid.pull_messages(list(self._waiting)):
            number, node = self._waiting.pop(reply.metadata.reply_to_message_id)
            if not reply.has_error():
                came.setdefault(number, []).append(node)
        for number, nodes in came.items():
            self._note(number, nodes)

    def rest(self) -> None:
        """The run is over: wait a moment for those who are about to answer."""
        until = time.monotonic() + REST_S
        while self._waiting and time.monotonic() < until:
            time.sleep(EVERY_S)
            self.poll()

    def _note(self, number: int, nodes: list[int]) -> None:
        names = {device.node: device.name for device in self._store.devices(revoked=True)} if self._name else {}
        own = [names.get(node, f"node {node}") for node in nodes] if self._name else []
        self._store.add_late(self._run, number, len(nodes), own)
