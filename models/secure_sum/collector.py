"""The server of a secret sum: it gathers what members send, and in the end knows the sum and who is in it."""

from collections.abc import Collection, Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from models.errors import SecureSumFailed
from models.secure_sum import masks
from models.secure_sum.graph import Plan, neighbours
from models.secure_sum.member import MEMBERS_MIN, pair_purpose
from models.secure_sum.messages import Arrived, Directory, Keys, Masked, Revealed, Shares
from models.secure_sum.ring import Ring
from models.secure_sum.shares import recover

U64 = NDArray[np.uint64]


class Collector:
    """One sum. Each stage takes the members' answers; who gives none has vanished."""

    def __init__(self, context: str, plan: Plan, ring: Ring, size: int, seed: int) -> None:
        """Begin.

        Args:
            context: names the sum; the members have the same.
            plan: neighbours and threshold.
            size: numbers in a vector.
            seed: public, of the graph.
        Raises:
            SecureSumFailed: the ring cannot hold the sum.
        """
        ring.check()
        self._context, self._plan, self._ring, self._size, self._seed = context, plan, ring, size, seed
        self._keys: dict[int, Keys] = {}
        self._near: dict[int, tuple[int, ...]] = {}
        self._partners: dict[int, tuple[int, ...]] = {}
        self._total = np.zeros(size, np.uint64)
        self._arrived: tuple[int, ...] = ()

    def directories(self, keys: Mapping[int, Keys]) -> dict[int, Directory]:
        """After stage keys: what each member is told of its neighbours.

        Raises:
            SecureSumFailed: too few members.
        """
        if len(keys) < MEMBERS_MIN or len(keys) > self._ring.members_max:
            raise SecureSumFailed(f"{len(keys)} members cannot sum in secret", hint="at least 3, at most the ring's")
        self._keys = dict(keys)
        self._near = neighbours(list(keys), self._plan.degree, self._seed)
        told = {}
        for one, near in self._near.items():
            threshold = min(self._plan.threshold, len(near))
            told[one] = Directory(keys={other: keys[other] for other in near}, threshold=threshold)
        return told

    def forwarded(self, shares: Mapping[int, Shares]) -> dict[int, Shares]:
        """After stage shares: the sealed shares, each to whom it is for."""
        self._partners = {
            one: tuple(
                other
                for other in self._near[one]
                if other in shares and one in shares[other].sealed and other in shares[one].sealed
            )
            for one in shares
            if one in self._near
        }
        return {
            one: Shares(sealed={other: shares[other].sealed[one] for other in near})
            for one, near in self._partners.items()
        }

    def arrived(self, masked: Mapping[int, Masked]) -> dict[int, Arrived]:
        """After stage masked: adds up what came, and says to each member who of its neighbours is in it.

        A vector of the wrong length counts as none: its sender has vanished.
        """
        vectors = {}
        for one in sorted(masked.keys() & self._partners.keys()):
            with suppress(SecureSumFailed):
                vectors[one] = self._ring.unpack(masked[one].vector, self._size)
        self._total = np.zeros(self._size, np.uint64)
        for vector in vectors.values():
            self._total += vector
        self._arrived = tuple(vectors)
        there = set(self._arrived)
        return {one: Arrived(members=tuple(n for n in self._partners[one] if n in there)) for one in self._arrived}

    def may_lose_others(self, there: Collection[int]) -> bool:
        """Whether the sum can still come about if of the members only these go on.

        At stage keys there is nothing to lose yet; at stages shares and masked each secret that takes a mask off must
        have enough holders among them.
        """
        near = self._partners or self._near
        for one, held in near.items():
            holders = sum(other in there for other in held)
            # Who vanished before its shares went round has no mask on anybody's vector.
            has_masks = one in there or (bool(self._partners) and holders > 0)
            if has_masks and holders < self._threshold(one):
                return False
        return True

    def is_open(self, revealed: Mapping[int, Revealed]) -> bool:
        """Whether what these members revealed takes every mask off."""
        wanted = [(one, "seeds") for one in self._arrived]
        wanted += [(gone, "keys") for gone in self._partners.keys() - set(self._arrived) if self._left(gone)]
        return all(len(self._of(one, revealed, kind)) >= self._threshold(one) for one, kind in wanted)

    def total(self, revealed: Mapping[int, Revealed]) -> tuple[U64, tuple[int, ...]]:
        """After stage reveal: the sum modulo the ring, uint64 (size,), and whose vectors it holds.

        Raises:
            SecureSumFailed: so many vanished that a mask cannot be taken off; nothing is known then.
        """
        total = self._total.copy()
        for one in self._arrived:
            seed = recover(self._of(one, revealed, "seeds"), self._threshold(one))
            total -= masks.stream(seed, self._size, self._ring.ring_bits)
        for gone in self._partners.keys() - set(self._arrived):
            left = self._left(gone)
            if not left:
                continue
            secret = recover(self._of(gone, revealed, "keys"), self._threshold(gone))
            if masks.public_of(secret) != self._keys[gone].masking:
                raise SecureSumFailed("the shares of a key give another one", hint="a member sent a wrong share")
            for one in left:
                seed = masks.agreed(secret, self._keys[one].masking, pair_purpose(self._context))
                mask = masks.stream(seed, self._size, self._ring.ring_bits)
                # As `one` added it: plus where its number is the smaller.
                total = total - mask if one < gone else total + mask
        return total & np.uint64(self._ring.mask), self._arrived

    def _left(self, gone: int) -> list[int]:
        """Whose vectors in the sum have a mask on them that they share with a member that vanished."""
        there = set(self._arrived)
        return [one for one in self._partners[gone] if one in there and gone in self._partners[one]]

    def _threshold(self, one: int) -> int:
        return min(self._plan.threshold, len(self._near[one]))

    def _of(self, one: int, revealed: Mapping[int, Revealed], kind: str) -> dict[int, bytes]:
        """Point → share of `one`'s secret."""
        return {other + 1: getattr(told, kind)[one] for other, told in revealed.items() if one in getattr(told, kind)}
