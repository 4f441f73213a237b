"""One member of a secret sum: what it sends at each stage, and what it refuses."""

import numpy as np
from numpy.typing import NDArray

from models.errors import SecureSumFailed
from models.secure_sum import masks
from models.secure_sum.messages import Arrived, Directory, Keys, Masked, Revealed, Shares
from models.secure_sum.ring import Ring
from models.secure_sum.shares import SECRET_BYTES, SHARE_BYTES, Entropy, split

U64 = NDArray[np.uint64]
MEMBERS_MIN = 3


class Member:
    """A member's secrets of one sum. Used once; a new sum takes a new member."""

    def __init__(self, own: int, context: str, entropy: Entropy) -> None:
        """Draw the secrets.

        Args:
            own: this member's number, from 0.
            context: names the sum (run and round); sealed messages of another cannot be used in it.
            entropy: random bytes that nobody can foresee (`os.urandom`).
        """
        self._own, self._context, self._entropy = own, context, entropy
        self._sealing, self._masking, self._seed = (entropy(SECRET_BYTES) for _ in range(3))
        self._directory: Directory | None = None
        self._received: dict[int, bytes] = {}
        self._partners: tuple[int, ...] = ()
        self._is_masked = self._is_revealed = False

    def keys(self) -> Keys:
        """Stage keys."""
        return Keys(sealing=masks.public_of(self._sealing), masking=masks.public_of(self._masking))

    def shares(self, directory: Directory) -> Shares:
        """Stage shares: each neighbour's share of this member's two secrets, sealed to it.

        Raises:
            SecureSumFailed: the neighbours are too few, or their keys are not good.
        """
        others = sorted(directory.keys)
        if self._directory is not None or self._own in directory.keys or len(others) < MEMBERS_MIN - 1:
            raise SecureSumFailed("the directory is not one for this member", hint="start a new sum")
        if not len(others) / 2 < directory.threshold <= len(others):
            raise SecureSumFailed(
                f"{directory.threshold} of {len(others)} neighbours would give a secret back",
                hint="more than half of them must be needed",
            )
        self._directory = directory
        points = [other + 1 for other in others]
        seeds = split(self._seed, points, directory.threshold, self._entropy)
        keys = split(self._masking, points, directory.threshold, self._entropy)
        return Shares(
            sealed={
                other: masks.seal(self._sealing_key(other), seeds[other + 1] + keys[other + 1], self._way(other))
                for other in others
            }
        )

    def masked(self, received: Shares, vector: U64, ring: Ring) -> Masked:
        """Stage masked: the vector under this member's own mask and those that it has in common with its neighbours.

        Args:
            received: what the neighbours sealed for it; who is not in it has vanished.
            vector: uint64 (d,), of `Ring.encode`.
        Raises:
            SecureSumFailed: too few neighbours are left, or it was asked before.
        """
        directory = self._there()
        unknown = received.sealed.keys() - directory.keys.keys()
        if self._is_masked or unknown or len(received.sealed) < directory.threshold:
            raise SecureSumFailed(
                f"{len(received.sealed)} neighbours sent shares, {directory.threshold} are needed",
                hint="the round is abandoned; nothing of it is known",
            )
        for other, sealed in received.sealed.items():
            plain = masks.unseal(self._opening_key(other), sealed, f"{self._context}:{other}:{self._own}")
            if len(plain) != 2 * SHARE_BYTES:
                raise SecureSumFailed("a share has the wrong length", hint="this member leaves the sum")
            self._received[other] = plain
        self._partners = tuple(sorted(received.sealed))
        self._is_masked = True
        total = vector + masks.stream(self._seed, len(vector), ring.ring_bits)
        for other in self._partners:
            mask = masks.stream(self._pairwise(other), len(vector), ring.ring_bits)
            total = total + mask if self._own < other else total - mask
        return Masked(vector=ring.pack(total & np.uint64(ring.mask)))

    def revealed(self, arrived: Arrived) -> Revealed:
        """Stage reveal: of each neighbour the share of one secret, never of both.

        Raises:
            SecureSumFailed: too few arrived, it names a stranger, or it was answered before.
        """
        directory, there = self._there(), set(arrived.members)
        if not self._is_masked or self._is_revealed or not there <= set(self._partners):
            raise SecureSumFailed("this cannot be revealed", hint="a member answers once, about its own neighbours")
        if len(there) < directory.threshold:
            raise SecureSumFailed(
                f"{len(there)} neighbours are left, {directory.threshold} are needed", hint="the round is abandoned"
            )
        self._is_revealed = True
        return Revealed(
            seeds={other: self._received[other][:SHARE_BYTES] for other in sorted(there)},
            keys={other: self._received[other][SHARE_BYTES:] for other in self._partners if other not in there},
        )

    def _there(self) -> Directory:
        if self._directory is None:
            raise SecureSumFailed("the directory has not come yet", hint="keep to the order of the stages")
        return self._directory

    def _way(self, other: int) -> str:
        return f"{self._context}:{self._own}:{other}"

    def _sealing_key(self, other: int) -> bytes:
        """For what goes to `other`; the way back has another key, so that no key seals twice."""
        return masks.agreed(self._sealing, self._there().keys[other].sealing, f"seal:{self._way(other)}")

    def _opening_key(self, other: int) -> bytes:
        purpose = f"seal:{self._context}:{other}:{self._own}"
        return masks.agreed(self._sealing, self._there().keys[other].sealing, purpose)

    def _pairwise(self, other: int) -> bytes:
        return masks.agreed(self._masking, self._there().keys[other].masking, pair_purpose(self._context))


def pair_purpose(context: str) -> str:
    """What two members' common mask is derived for."""
    return f"mask:{context}"
