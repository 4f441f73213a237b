"""Flower's grid with members of secret sums behind it: the agent's own part of the protocol, in one process.

Time is the test's: it goes on where somebody waits. A silent member's agent answers nevertheless, but after the stage.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused
from edge_agent.learn.secret import Part
from models.secure_sum.messages import Asked, Keys, Masked, Revealed, Shares, unpack
from tests.models.secure_sum.party import STAGES, Heard, coins

F64 = NDArray[np.float64]
ANSWER_S = 0.2
NEVER_S = 1e9
HELD_BACK: Any = {"keys": Keys, "shares": Shares, "masked": Masked, "reveal": Revealed}
"""Stage → what a member answers."""


class Clock:
    """Seconds that pass while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class SecretDoor:
    """Nodes that take part in secret sums.

    Args:
        vectors: node → its clipped update.
        delays: node → stage → seconds until its answer is there; `ANSWER_S` where it says nothing. It is asked nothing
            more once the stage has ended without it.
        loose: hand over every answer that has come, also to what is no longer waited for.
    """

    def __init__(
        self,
        clock: Clock,
        vectors: Mapping[int, F64],
        delays: Mapping[int, Mapping[str, float]],
        *,
        loose: bool = False,
        k_min: int = 3,
    ) -> None:
        self._clock, self._vectors, self._delays, self._loose = clock, vectors, delays, loose
        self._parts = {node: Part(coins(node), k_min) for node in vectors}
        self._due: dict[str, tuple[float, Message]] = {}
        self._dice = np.random.default_rng(1)
        self.asked: dict[str, list[int]] = {stage: [] for stage in STAGES}
        """Stage → the members that were asked, in order."""
        self.answers: dict[str, dict[int, bytes]] = {stage: {} for stage in STAGES}
        """Stage → member → its answer, whether the server took it in time or not: all that its machine could keep."""
        self.partners: dict[int, tuple[int, ...]] = {}
        self.last: dict[str, Asked] = {}
        """Stage → one of its messages."""

    def get_node_ids(self) -> list[int]:
        return list(self._vectors)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        names = []
        for message in messages:
            name = f"m{sum(map(len, self.asked.values()))}"
            message.metadata.__dict__["_message_id"] = name
            message.metadata.__dict__["_src_node_id"] = 1
            node = message.metadata.dst_node_id
            asked = unpack(bytes(message.content["secret"]["secret"]), Asked)  # type: ignore[arg-type,call-overload,index]
            self.asked[asked.stage].append(asked.member)
            self.last[asked.stage] = asked
            if asked.stage == "masked":
                self.partners[asked.member] = tuple(sorted(unpack(asked.body, Shares).sealed))
            due = self._clock.now + self._delays.get(node, {}).get(asked.stage, ANSWER_S)
            self._due[name] = due, self._answer(node, asked, message)
            names.append(name)
        return names

    def _answer(self, node: int, asked: Asked, message: Message) -> Message:
        try:
            body = self._parts[node].answer(asked, lambda: self._vectors[node], self._dice)
        except RoundRefused as error:
            return Message(Error(code=0, reason=str(error)), reply_to=message)
        self.answers[asked.stage][asked.member] = body
        return Message(RecordDict({"secret": ConfigRecord({"secret": body})}), reply_to=message)

    def pull_messages(self, names: Iterable[str]) -> list[Message]:
        wanted = list(self._due) if self._loose else [name for name in names if name in self._due]
        ready = [name for name in wanted if self._due[name][0] <= self._clock.now]
        return [self._due.pop(name)[1] for name in ready]

    def heard(self) -> Heard:
        """Everything that its machine could keep of the sum, late answers too, in the form that an attempt takes."""
        told: dict[str, dict[int, Any]] = {
            stage: {one: unpack(raw, HELD_BACK[stage]) for one, raw in said.items()}
            for stage, said in self.answers.items()
        }
        size = len(next(iter(self._vectors.values())))
        return Heard(
            total=np.zeros(0, np.uint64),
            included=(),
            received=[raw for said in self.answers.values() for raw in said.values()],
            masked={one: self.last["masked"].ring.unpack(said.vector, size) for one, said in told["masked"].items()},
            keys=told["keys"],
            partners=self.partners,
            revealed=told["reveal"],
        )


@pytest.fixture
def clock(in_a_server_app: None, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The coordinator's, while a sum is made."""
    found = Clock()
    monkeypatch.setattr("coordinator.shell.secret_grid.time", found)
    monkeypatch.setattr("coordinator.shell.grid.time", found)
    monkeypatch.setattr("coordinator.shell.grid.POLL_S", 0.05)
    monkeypatch.setattr("coordinator.shell.grid.POLL_S_MAX", 0.4)
    return found
