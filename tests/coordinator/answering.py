"""Flower's grid with devices behind it that answer at once: the server app's own code runs, and nothing else has to."""

import gc
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from models import flat
from models.bundle import open_bundle
from tests.coordinator.fleet import CONTEXT


class Cut(BaseException):
    """The server app is gone."""


@dataclass
class Door:
    """Flower's grid: devices that answer at once, each with a report that nobody else gives; cut at any call."""

    online: list[int]
    silent: set[int] = field(default_factory=set)
    """Nodes whose replies have yet to arrive."""
    steps: int = 10_000
    """Calls until it is cut."""
    said: dict[str, Message] = field(default_factory=dict)
    given: Counter[float] = field(default_factory=Counter)
    """Loss (it names the report) → how often it was handed over."""

    def _step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Cut

    def get_node_ids(self) -> list[int]:
        self._step()
        return self.online

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        self._step()
        names = []
        for message in messages:
            name = f"m{len(self.said)}-{id(self)}"
            message.metadata.__dict__["_message_id"] = name
            message.metadata.__dict__["_src_node_id"] = 1
            self.said[name] = self._reply(message, float(message.metadata.dst_node_id + 100 * len(self.said)))
            names.append(name)
        return names

    def _reply(self, message: Message, loss: float) -> Message:
        shared = open_bundle(CONTEXT).spec.of_share("shared")
        # Quarantine leaves out who repeats another's update.
        delta = np.random.default_rng(int(loss)).integers(-9, 10, flat.size_of(shared)).astype(np.int8)
        facts: dict[str, Any] = {
            "names": [one.name for one in shared],
            "scales": [1e-4] * len(shared),
            "examples": 8,
            "loss_before": loss,
            "loss_after": 0.0,
        }
        content = RecordDict({"delta": ArrayRecord({"delta": Array(delta)}), "facts": ConfigRecord(facts)})
        return Message(content, reply_to=message)

    def pull_messages(self, names: Iterable[str]) -> list[Message]:
        self._step()
        ready = [name for name in names if name in self.said]
        ready = [name for name in ready if self.said[name].metadata.src_node_id not in self.silent]
        found = [self.said.pop(name) for name in ready]
        for reply in found:
            self.given[float(reply.content["facts"]["loss_before"])] += 1  # type: ignore[arg-type]
        return found


@pytest.fixture
def in_a_server_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """That waits for nobody."""
    for part in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, part, 1)
    # As in the tests against Flower's strategies: it collects garbage after each array that it reads.
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
    monkeypatch.setattr("coordinator.shell.grid.POLL_S", 0.0)
    monkeypatch.setattr("coordinator.shell.grid.POLL_S_MAX", 0.0)
