"""All members of a sum and their server, in one process; who vanishes when is given."""

from collections.abc import Mapping
from hashlib import shake_256

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.secure_sum import messages
from models.secure_sum.collector import Collector
from models.secure_sum.graph import Plan
from models.secure_sum.masks import agreed, stream
from models.secure_sum.member import Member, pair_purpose
from models.secure_sum.messages import Arrived, Directory, Keys, Masked, Revealed, Shares
from models.secure_sum.ring import Ring
from models.secure_sum.shares import SHARE_BYTES, Entropy, recover

U64 = NDArray[np.uint64]
STAGES = ("keys", "shares", "masked", "reveal")
CONTEXT = "run-1:round-1"


class Heard(Struct):
    """All bytes that the server received, and what came of them."""

    total: U64
    included: tuple[int, ...]
    received: list[bytes]
    masked: dict[int, U64]
    keys: dict[int, Keys]
    partners: dict[int, tuple[int, ...]]
    """Member → with whom it has masks in common."""
    revealed: dict[int, Revealed]


def coins(seed: int) -> Entropy:
    """Bytes that look random and repeat with the seed."""
    drawn = 0

    def entropy(count: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return shake_256(f"{seed}:{drawn}".encode()).digest(count)

    return entropy


def sum_in_secret(
    vectors: Mapping[int, U64],
    ring: Ring,
    plan: Plan,
    vanish: Mapping[int, str],
    seed: int = 0,
    *,
    both: bool = False,
    foreseen: dict[str, bool] | None = None,
) -> Heard:
    """The sum of the vectors; a member in `vanish` sends nothing from that stage on. Everything crosses as bytes.

    Args:
        both: members that break the rule, and reveal both secrets of each neighbour.
        foreseen: takes, stage by stage, whether the server says that it can do without those who vanished.
    """
    size = len(next(iter(vectors.values())))
    members = {one: Member(one, CONTEXT, coins(seed * 100_003 + one)) for one in vectors}
    server, received = Collector(CONTEXT, plan, ring, size, seed), []

    def there(stage: str) -> list[int]:
        return [one for one in members if one not in vanish or STAGES.index(vanish[one]) > STAGES.index(stage)]

    def foresee(stage: str, may_go_on: bool) -> None:
        if foreseen is not None:
            foreseen[stage] = may_go_on

    def sent(message: Struct) -> bytes:
        received.append(messages.pack(message))
        return received[-1]

    keys = {one: messages.unpack(sent(members[one].keys()), Keys) for one in there("keys")}
    told = server.directories(keys)
    shares = {
        one: messages.unpack(sent(members[one].shares(_over(told[one], Directory))), Shares) for one in there("shares")
    }
    foresee("shares", server.may_lose_others(shares))
    passed = server.forwarded(shares)
    masked = {
        one: messages.unpack(sent(members[one].masked(_over(passed[one], Shares), vectors[one], ring)), Masked)
        for one in there("masked")
    }
    foresee("masked", server.may_lose_others(masked))
    arrived = server.arrived(masked)
    revealed = {
        one: messages.unpack(sent(_careless(members[one]) if both else members[one].revealed(said)), Revealed)
        for one in there("reveal")
        if (said := _over(arrived[one], Arrived))
    }
    foresee("reveal", server.is_open(revealed))
    total, included = server.total(revealed)
    vectors_masked = {n: ring.unpack(m.vector, size) for n, m in masked.items()}
    partners = {one: tuple(sorted(passed[one].sealed)) for one in passed}
    return Heard(total, included, received, vectors_masked, keys, partners, revealed)


def unmasked(heard: Heard, ring: Ring, threshold: int, size: int, context: str = CONTEXT) -> dict[int, U64]:
    """What a server finds that tries: of each member it takes off every mask whose secret it can put together.

    It has all that it received: public keys, sealed shares (which it cannot open), masked vectors, and what members
    revealed.
    """
    shares: dict[str, dict[int, dict[int, bytes]]] = {"seeds": {}, "keys": {}}
    for at, told in heard.revealed.items():
        for kind, known in shares.items():
            for one, share in getattr(told, kind).items():
                known.setdefault(one, {})[at + 1] = share
    seeds, keys = (
        {one: recover(held, threshold) for one, held in shares[kind].items() if len(held) >= threshold}
        for kind in ("seeds", "keys")
    )
    found = {}
    for one, masked in heard.masked.items():
        if one not in seeds:
            continue
        vector = masked - stream(seeds[one], size, ring.ring_bits)
        for other in heard.partners[one]:
            secret, public = (keys[one], other) if one in keys else (keys.get(other), one)
            if secret is None:
                break  # this mask stays on
            mask = stream(agreed(secret, heard.keys[public].masking, pair_purpose(context)), size, ring.ring_bits)
            vector = vector - mask if one < other else vector + mask
        else:
            found[one] = vector & np.uint64(ring.mask)
    return found


def _careless(member: Member) -> Revealed:
    """A member that reveals both secrets of each neighbour: what `Member.revealed` must never do."""
    held = member._received
    return Revealed(
        seeds={other: plain[:SHARE_BYTES] for other, plain in held.items()},
        keys={other: plain[SHARE_BYTES:] for other, plain in held.items()},
    )


def _over(message: messages.Told, kind: type[messages.Told]) -> messages.Told:
    return messages.unpack(messages.pack(message), kind)
