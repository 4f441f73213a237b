"""One round's talk with the nodes over Flower's grid: who is online, ask them, wait, read what they say.

`push_messages` and `pull_messages` with a poll of our own: Flower's `send_and_receive` sleeps three seconds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import aggregate
from coordinator.aggregate import Report
from coordinator.cohort import may_close
from coordinator.errors import AggregationFailed
from models import arrays
from models.errors import ModelError
from models.spec import Parameter

F32 = NDArray[np.float32]
POLL_S, POLL_S_MAX, POLL_GROWTH = 0.05, 0.4, 1.3
"""How often replies are asked for: soon after something came, less often the longer nothing does. Each call costs the
SuperLink about 20 ms, which then are not the devices'."""
PARTS_S = 10.0
"""How long a device may take between announcing a reply and having sent it; then it counts as none."""
REASON_MAX = 300
May = Callable[[Sequence[int]], list[int]]


class Replies(Struct, frozen=True, kw_only=True):
    """What a round's nodes said."""

    reports: tuple[Report, ...] = ()
    refusals: tuple[str, ...] = ()
    """Why others gave none: their own words, or what was wrong with theirs."""
    bytes_up: int = 0
    bytes_down: int = 0
    """All objects of the messages, as the devices' ledgers count them."""
    unanswered: dict[str, int] = {}
    """Message → node, of those who had not answered when the round closed."""


def hurry() -> None:
    """Make Flower ask again soon for parts of replies, and give up on a device that vanished while it sent one.

    Flower asks again after a second, and for two hours at most. There is no setting for it: `Grid.pull_messages`
    uses the defaults of this function, so they are changed.
    """
    defaults: dict[str, Any] = pull_objects.__kwdefaults__ or {}
    ours = {"initial_backoff": 0.1, "backoff_cap": 0.4, "max_time": PARTS_S}
    defaults.update({name: value for name, value in ours.items() if name in defaults})


class Pause:
    """The wait between two looks; longer and longer while nothing comes."""

    def __init__(self) -> None:
        self._s = POLL_S

    def rest(self) -> None:
        """Wait."""
        time.sleep(self._s)
        self._s = min(self._s * POLL_GROWTH, POLL_S_MAX)

    def came(self) -> None:
        """Something has come: more may be close behind."""
        self._s = POLL_S


def online(grid: Grid, enough: int, everyone: int, until: float, not_before: float, may: May = list) -> list[int]:
    """The nodes that are online and may be asked, once there are enough or the time to join is over.

    Args:
        enough: how many are hoped for.
        everyone: how many there can be; with so many there is nothing to wait for.
        until: monotonic time, s; nobody is waited for after it.
        not_before: monotonic time, s; before it devices still come one by one, and the first would be preferred.
        may: the nodes that are online → those that may be asked.
    """
    pause = Pause()
    while True:
        nodes, now = may(list(grid.get_node_ids())), time.monotonic()
        if now >= max(until, not_before) or len(nodes) >= max(everyone, enough):
            return nodes
        if len(nodes) >= enough and now >= not_before:
            return nodes
        pause.rest()


def ask(
    grid: Grid,
    nodes: Sequence[int],
    vectors: Mapping[str, F32],
    plan: dict[str, Any],
    shared: Sequence[Parameter],
    *,
    wanted: int,
    deadline_s: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> Replies:
    """Send the round's message to each node and read what comes back.

    Args:
        vectors: what the message holds beside the plan, as `plans.vectors_of` makes them.
        plan: `edge_agent`'s plan of a round; its `clip_norm` bounds each report here too.
        wanted: reports that are enough; 0: one from each node.
        deadline_s: how long to wait.
        meanwhile: called again and again while it waits.
    """
    record = record_of(vectors, plan)
    messages = [
        Message(
            content=record, dst_node_id=node, message_type="train", group_id=str(plan["round"]), ttl=deadline_s + 60
        )
        for node in nodes
    ]
    size = sum(map(size_of, messages))
    sent = zip(grid.push_messages(messages), nodes, strict=True)
    waiting = {identity: node for identity, node in sent if identity}
    reports: list[Report] = []
    refusals = ["the SuperLink did not take the message"] * (len(nodes) - len(waiting))
    up, started, pause = 0, time.monotonic(), Pause()
    while waiting and not may_close(len(reports), wanted or len(nodes), time.monotonic() - started, deadline_s):
        pause.rest()
        for reply in grid.pull_messages(list(waiting)):
            pause.came()
            waiting.pop(reply.metadata.reply_to_message_id, None)
            try:
                own = msgspec.structs.replace(read_report(reply, shared), node=reply.metadata.src_node_id)
                reports.append(aggregate.bounded(own, plan["clip_norm"]))
                up += size_of(reply)
            except AggregationFailed as error:
                refusals.append(error.what)
        meanwhile()
    return Replies(
        reports=tuple(reports), refusals=tuple(refusals), bytes_up=up, bytes_down=size, unanswered=dict(waiting)
    )


def record_of(vectors: Mapping[str, F32], plan: dict[str, Any]) -> RecordDict:
    """A round's message: the plan, with small vectors beside it; larger ones are each in a record of their own name."""
    small = arrays.beside(vectors)
    if small is not None:
        return RecordDict({"plan": ConfigRecord({**plan, **small})})
    record = RecordDict({name: ArrayRecord({name: Array(vector)}) for name, vector in vectors.items()})
    record["plan"] = ConfigRecord(plan)
    return record


def read_report(reply: Message, shared: Sequence[Parameter]) -> Report:
    """A device's reply, once it has the form that it must have.

    Raises:
        AggregationFailed: it says no, or is not usable; the reply counts as none.
    """
    if reply.has_error():
        said = "".join(c for c in str(reply.error.reason)[:REASON_MAX] if c.isprintable())
        raise AggregationFailed(said, hint="see the device's log")
    sent, facts = content_of(reply)
    return aggregate.checked(sent, facts, shared)


def content_of(reply: Message) -> tuple[dict[str, NDArray[np.generic]], dict[str, Any]]:
    """A reply's arrays and its other values.

    Raises:
        AggregationFailed: an array that is not what it says.
    """
    told = {n: v for record in reply.content.config_records.values() for n, v in record.items()}
    files, facts = arrays.parted(told)
    # Not `Array.numpy`: it allocates what a device's header says.
    files |= {n: bytes(a.data) for record in reply.content.array_records.values() for n, a in record.items()}
    try:
        return {name: arrays.read(raw, name[:40]) for name, raw in files.items()}, facts
    except ModelError as error:
        raise AggregationFailed(f"a tensor cannot be read: {error}", hint="update the device's agent") from error


def size_of(message: Message) -> int:
    """Bytes of a message's objects."""
    return sum(len(part.deflate()) for part in get_all_nested_objects(message).values())
