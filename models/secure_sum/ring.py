"""Vectors of real numbers as integers of a ring, and many integers of a few bits as bytes."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.errors import SecureSumFailed

F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]
BITS_MAX = 32
"""Of a ring."""


class Ring(Struct, frozen=True, kw_only=True):
    """How a coordinate becomes an integer: [-bound, bound] in `2**bits - 1` steps, sums modulo 2**ring_bits."""

    bound: float
    """Largest magnitude of a coordinate; what lies beyond is cut. > 0, finite."""
    bits: int
    """Of one member's coordinate, 2 to 24."""
    members_max: int
    """So many may be summed without running over."""
    spare: int = 0
    """Bits beside, for noise that the members add: `models.secure_sum.noise.spare_bits`."""

    @property
    def ring_bits(self) -> int:
        """Bits of a coordinate on the wire: those of one member, those that its sum needs, and the spare."""
        return self.bits + max(0, (self.members_max - 1).bit_length()) + self.spare

    @property
    def mask(self) -> int:
        """2**ring_bits - 1."""
        return (1 << self.ring_bits) - 1

    @property
    def step(self) -> float:
        """What one unit is worth."""
        return 2.0 * self.bound / ((1 << self.bits) - 1)

    def check(self) -> None:
        """Refuse what cannot hold a sum.

        Raises:
            SecureSumFailed: bound, bits or members are out of their range.
        """
        counts_fit = 2 <= self.bits <= 24 and self.members_max >= 1 and self.spare >= 0
        if not (0.0 < self.bound < float("inf") and counts_fit):
            raise SecureSumFailed("the ring's bound, bits or members are out of range", hint="bits 2 to 24, bound > 0")
        if self.ring_bits > BITS_MAX:
            raise SecureSumFailed(
                f"{self.bits} bits for {self.members_max} members need {self.ring_bits} bits, {BITS_MAX} are there",
                hint="fewer bits a coordinate, or groups",
            )

    def encode(self, vector: F64, dice: np.random.Generator) -> U64:
        """Integers of the vector, rounded up or down at random so that the mean is right.

        Args:
            vector: float64 (d,), finite.
        Returns:
            uint64 (d,), each below 2**bits.
        Source: stochastic quantisation, Suresh et al. 2017, "Distributed Mean Estimation with Limited Communication".
        """
        scaled = (np.clip(vector, -self.bound, self.bound) + self.bound) / self.step
        low = np.floor(scaled)
        up = dice.random(len(vector)) < scaled - low
        values: U64 = np.minimum(low + up, (1 << self.bits) - 1).astype(np.uint64)
        return values

    def decode(self, total: U64, members: int) -> F64:
        """The sum of `members` vectors, float64 (d,); off by less than a step for each member."""
        return np.asarray(total.astype(np.float64) * self.step - members * self.bound, np.float64)

    def pack(self, values: U64) -> bytes:
        """The integers end to end, `ring_bits` each, most significant bit first."""
        width = self.ring_bits
        big = values.astype(">u4").view(np.uint8).reshape(-1, 4)
        bits = np.unpackbits(big, axis=1)[:, BITS_MAX - width :]
        return np.packbits(bits.reshape(-1)).tobytes()

    def unpack(self, packed: bytes, size: int) -> U64:
        """The integers again, uint64 (size,).

        Raises:
            SecureSumFailed: there are more or fewer bytes than they take.
        """
        width = self.ring_bits
        if len(packed) != -(-size * width // 8):
            raise SecureSumFailed(
                f"{len(packed)} bytes are not {size} numbers of {width} bits", hint="all members must use one ring"
            )
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=size * width).reshape(size, width)
        whole = np.zeros((size, BITS_MAX), np.uint8)
        whole[:, BITS_MAX - width :] = bits
        values: U64 = np.packbits(whole, axis=1).view(">u4").reshape(-1).astype(np.uint64)
        return values
