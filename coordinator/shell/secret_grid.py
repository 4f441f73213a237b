"""A round whose updates are summed in secret, over Flower's grid: four messages a device instead of one.

A device that is late at a stage has vanished from the sum; one that vanishes after its vector has come is in it.
A stage ends once everyone has answered whom it asked, at its deadline, or, where enough have, a grace time after the
last answer. Whoever has not answered by then is asked nothing more in this sum, and what it still sends is not read.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from msgspec import Meta, Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from coordinator import cohort
from coordinator.errors import AggregationFailed, TooFewReports
from coordinator.shell.grid import REASON_MAX, Pause, record_of, size_of
from models import sparse
from models.errors import SecureSumFailed
from models.secure_sum import noise as noises
from models.secure_sum.collector import Collector
from models.secure_sum.graph import plan as graph_plan
from models.secure_sum.messages import Arrived, Asked, Keys, Masked, Revealed, Shares, Told, pack, unpack
from models.secure_sum.noise import Noise
from models.secure_sum.ring import Ring

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
FAILURE = 1e-6


class Secret(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run's secret sums are made."""

    bits: int = 20
    """Of a coordinate, over [-clip_norm, clip_norm]."""
    vanish: float = 0.25
    """Share of the devices that may vanish in a round."""
    collude: float = 0.0
    """Share of the devices that may work with the server."""
    multiplier: float = 0.0
    """Of the noise that the devices add, each its share, so that the sum has it though `vanish` of them do; 0: none."""
    grace_s: Annotated[float, Meta(ge=0.0)] = cohort.GRACE_S
    """How long a stage waits after an answer for the next, once all but `vanish` of the devices asked have answered; 0:
    until its deadline."""


class Summed(Struct, frozen=True, kw_only=True):
    """What the server knows after a secret sum."""

    total: F64
    """(d,), over the devices in it; with a count one more."""
    members: int
    refusals: tuple[str, ...]
    bytes_up: int
    bytes_down: int


class _Talk:
    """One sum's messages to and from the nodes."""

    def __init__(
        self,
        grid: Grid,
        context: str,
        ring: Ring,
        noise: Noise | None,
        nodes: Sequence[int],
        *,
        deadline_s: float,
        grace_s: float,
    ) -> None:
        self._grid, self._context, self._ring, self._deadline_s = grid, context, ring, deadline_s
        self._noise, self._grace_s = noise, grace_s
        self._node_of = dict(enumerate(sorted(nodes)))
        self.refusals: list[str] = []
        self.up = self.down = 0

    @property
    def members(self) -> list[int]:
        return list(self._node_of)

    def stage(
        self,
        name: Any,
        bodies: Mapping[int, bytes],
        kind: type[Told],
        may_go_on: Callable[[dict[int, Told]], bool],
        more: RecordDict | None = None,
    ) -> dict[int, Told]:
        """Send each member its part of a stage, and read what comes back in time.

        Args:
            may_go_on: these answers → whether the sum can come about without any other.
        """
        messages = {}
        for one, body in bodies.items():
            asked = Asked(
                stage=name,
                context=self._context,
                member=one,
                members=len(self._node_of),
                body=body,
                ring=self._ring,
                noise=self._noise,
            )
            record = RecordDict(dict(more) if more is not None else {})
            record["secret"] = ConfigRecord({"secret": pack(asked)})
            messages[one] = Message(
                content=record,
                dst_node_id=self._node_of[one],
                message_type="train",
                group_id=self._context,
                ttl=self._deadline_s + 60,
            )
        self.down += sum(map(size_of, messages.values()))
        sent = self._grid.push_messages(list(messages.values()))
        waiting = {identity: one for identity, one in zip(sent, messages, strict=True) if identity}
        answers: dict[int, Told] = {}
        last, pause = time.monotonic(), Pause()
        until = last + self._deadline_s
        while waiting and time.monotonic() < until:
            pause.rest()
            for reply in self._grid.pull_messages(list(waiting)):
                member = waiting.pop(reply.metadata.reply_to_message_id, None)
                if member is None:  # no answer to anything that is waited for
                    continue
                pause.came()
                last = time.monotonic()
                answer = self._read(reply, kind)
                if answer is not None:
                    answers[member] = answer
            if 0.0 < self._grace_s <= time.monotonic() - last and may_go_on(answers):
                break
        return answers

    def _read(self, reply: Message, kind: type[Told]) -> Told | None:
        if reply.has_error():
            said = "".join(c for c in str(reply.error.reason)[:REASON_MAX] if c.isprintable())
            self.refusals.append(said)
            return None
        self.up += size_of(reply)
        facts: dict[str, Any] = {n: v for record in reply.content.config_records.values() for n, v in record.items()}
        try:
            return unpack(bytes(facts["secret"]), kind)
        except (SecureSumFailed, KeyError, TypeError) as error:
            self.refusals.append(f"no {kind.__name__} message: {error}")
            return None


def sum_in_secret(
    grid: Grid,
    nodes: Sequence[int],
    context: str,
    vectors: Mapping[str, F32],
    plan: dict[str, Any],
    secret: Secret,
    *,
    size: int = 0,
    minimum: int,
    deadline_s: float,
    seed: int,
    closing: Callable[[int], None],
    unmasking: Callable[[], None],
    unmasked: Callable[[], None] = lambda: None,
) -> Summed:
    """Run the four stages with these nodes.

    Args:
        context: names the sum: run and round.
        vectors: what the message holds beside the plan, as `plans.vectors_of` makes them.
        size: of the devices' vectors, where the message holds none; 0: as long as `vectors["shared"]`.
        plan: of the round, as `edge_agent` reads it.
        minimum: members that must be in the sum; with fewer nothing is unmasked.
        deadline_s: for each stage; `secret.grace_s` may end one before.
        seed: public, of the graph.
        closing: told the number of vectors, once they are here.
        unmasking: called before the first mask comes off; what it raises ends the sum with nothing known.
        unmasked: called once everything is here that takes the masks off: from now on the sum may have been seen.
    Raises:
        TooFewReports: too few members at some stage; nothing is known of anybody.
        AggregationFailed: the masks could not be taken off.
    """
    members_max, whole_size = max(3, len(nodes)), size or len(vectors["shared"])
    # Where the clipping norm is adapted, a count is one more number of each vector.
    weight, share = float(plan.get("count_weight", 0.0)), float(plan.get("random_k", 0.0))
    sent = sparse.kept(whole_size, share) if share else whole_size
    size = sent + (weight > 0.0)
    noise = noise_of(secret, members_max)
    minimum = max(minimum, noise.least if noise is not None else 0)
    ring = _ring_of(secret, noise, math.hypot(plan["clip_norm"], weight), members_max, size)
    needed = max(3, minimum)
    # Nobody is given up before the deadline where more would be lost than the graph was made for.
    enough = max(needed, len(nodes) - int(secret.vanish * len(nodes)))
    talk = _Talk(grid, context, ring, noise, nodes, deadline_s=deadline_s, grace_s=secret.grace_s)
    try:
        if noise is not None:
            noises.check(noise, ring, size)
        found = graph_plan(max(3, len(nodes)), secret.vanish, secret.collude, FAILURE)
        server = Collector(context, found, ring, size, seed)
        arrived = _gathered(talk, server, record_of(vectors, plan), needed, enough, closing)
        unmasking()
        revealed = talk.stage("reveal", _packed(arrived), Revealed, server.is_open)
        unmasked()
        total, members = server.total(revealed)
    except SecureSumFailed as error:
        raise AggregationFailed(f"the secret sum failed: {error.what}", hint=error.hint) from error
    whole = ring.decode(total, len(members)) if noise is None else noises.decode(total, ring)
    return Summed(
        total=_placed(whole, whole_size, sent, plan) if share else whole,
        members=len(members),
        refusals=tuple(talk.refusals),
        bytes_up=talk.up,
        bytes_down=talk.down,
    )


def _gathered(
    talk: _Talk, server: Collector, parameters: RecordDict, needed: int, enough: int, closing: Callable[[int], None]
) -> dict[int, Arrived]:
    """The first three stages: masked vectors are here, and nothing is known of them.

    Args:
        needed: members that must be left after each stage.
        enough: members that must have answered before a stage ends without the others.
    Returns:
        Member → what it is told of its neighbours.
    """

    def may_go_on(answers: Mapping[int, Struct]) -> bool:
        return len(answers) >= enough and server.may_lose_others(answers)

    keys = talk.stage("keys", dict.fromkeys(talk.members, b""), Keys, may_go_on)
    _check_enough(len(keys), needed, talk)
    directories = _packed(server.directories(keys))
    passed = server.forwarded(talk.stage("shares", directories, Shares, may_go_on))
    _check_enough(len(passed), needed, talk)
    arrived = server.arrived(talk.stage("masked", _packed(passed), Masked, may_go_on, parameters))
    closing(len(arrived))
    _check_enough(len(arrived), needed, talk)
    return arrived


def _packed(bodies: Mapping[int, Any]) -> dict[int, bytes]:
    """Each member's part of a stage, as bytes."""
    return {one: pack(body) for one, body in bodies.items()}


def _ring_of(secret: Secret, noise: Noise | None, bound: float, members_max: int, size: int) -> Ring:
    """The ring of a sum of so many vectors, with room for the noise in it."""
    ring = Ring(bound=bound, bits=secret.bits, members_max=members_max)
    return ring if noise is None else replace(ring, spare=noises.spare_bits(noise, ring, size))


def _placed(total: F64, size: int, sent: int, plan: dict[str, Any]) -> F64:
    """The sum of some numbers where they stand among all `size`, with the count that may follow them."""
    dense = np.zeros(size)
    dense[sparse.drawn(size, sent, int(plan["seed"]), int(plan["round"]))] = total[:sent]
    return np.concatenate([dense, total[sent:]])


def noise_of(secret: Secret, asked: int) -> Noise | None:
    """The noise of a sum of so many devices: as stated though a share of `secret.vanish` does not add its own."""
    if not secret.multiplier:
        return None
    return Noise(multiplier=secret.multiplier, least=max(3, math.ceil((1.0 - secret.vanish) * asked)))


def _check_enough(count: int, needed: int, talk: _Talk) -> None:
    if count < needed:
        said = f"; said no: {'; '.join(sorted(set(talk.refusals))[:3])}" if talk.refusals else ""
        raise TooFewReports(
            f"{count} devices are in the secret sum, {needed} are needed{said}",
            hint="raise --deadline-s, or see the agents' logs",
        )
