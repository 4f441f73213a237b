"""Noise that the members of a secret sum add themselves, each its share, so that nobody ever sees a sum without it.

A member's vector is clipped, rounded to the ring's grid without growing longer than a stated bound, and discrete
Gaussian noise is added before the masks. The shares of `least` members make the noise that the sum must have; more
members make it larger. The mechanism is over whole numbers, so no floating point stands between it and its proof.

Source: Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
Aggregation", algorithm 1 and theorem 5.
"""

import math
from fractions import Fraction
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from models.errors import SecureSumFailed
from models.secure_sum.discrete import discrete_gaussian
from models.secure_sum.ring import Ring
from models.secure_sum.shares import Entropy

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
APART_MAX = 1e-12
"""How far, as a privacy loss, the sum of the shares may be from one discrete Gaussian over all coordinates."""
TAIL = 12.0
"""Standard deviations of noise that the ring holds beside the vectors; P(beyond) < 1e-32 a coordinate."""
TRIES_MAX = 1_000
"""Roundings; one is short enough with probability 0.39 or more, so none of so many: < 1e-200."""
Range = Annotated[int, Meta(ge=1, le=1_000_000)]


class Noise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What noise a sum must have."""

    multiplier: Annotated[float, Meta(gt=0.0, le=10_000.0)]
    """Standard deviation of a coordinate of the sum, in units of how far one member can move it (L2)."""
    least: Range
    """So many members' shares make that noise; a sum of fewer must not be unmasked."""


def norm_bound(ring: Ring, size: int) -> int:
    """Largest squared L2 norm of a member's rounded vector, in steps: what one member can move the sum by, squared.

    Rounding at random makes a vector longer; this is what the vector's norm, `ring.bound`, may become.
    Source: Kairouz et al. 2021, proposition 22, with β = exp(-1/2).
    """
    norm = ring.bound / ring.step
    likely = norm**2 + size / 4.0 + norm + math.sqrt(size) / 2.0
    return int(min(likely, (norm + math.sqrt(size)) ** 2))


def share_variance(noise: Noise, ring: Ring, size: int) -> Fraction:
    """Variance of one member's noise, in squared steps; a rational number that every party computes alike."""
    return Fraction(noise.multiplier) ** 2 * norm_bound(ring, size) / noise.least


def check(noise: Noise, ring: Ring, size: int) -> None:
    """Refuse noise so small beside the grid that the sum of shares is no discrete Gaussian.

    Raises:
        SecureSumFailed: the shares are too narrow for the number of members and coordinates.
    """
    apart = size * apartness(share_variance(noise, ring, size), ring.members_max)
    if apart > APART_MAX:
        raise SecureSumFailed(
            f"each member's noise is too narrow for the grid ({apart:.1g} of privacy loss)", hint="more bits or noise"
        )


def apartness(variance: Fraction, members: int) -> float:
    """By how much, as a privacy loss a coordinate, a sum of discrete Gaussians differs from one of their variance.

    Source: Kairouz et al. 2021, corollary 12: 10 Σ exp(-2π² σ² k / (k + 1)) over k below the members.
    """
    # Each term is at most the first.
    return 10.0 * max(0, members - 1) * math.exp(-(math.pi**2) * min(700.0, float(variance)))


def spare_bits(noise: Noise, ring: Ring, size: int) -> int:
    """Bits that the ring needs beside those of the vectors, so that sum and noise do not run over."""
    widest = math.sqrt(float(share_variance(noise, ring, size)) * ring.members_max)
    needed = ring.members_max * (math.isqrt(norm_bound(ring, size)) + 1) + TAIL * widest
    return max(0, math.ceil(math.log2(2.0 * needed)) - ring.bits - (ring.members_max - 1).bit_length())


def encode(vector: F64, noise: Noise, ring: Ring, dice: np.random.Generator, entropy: Entropy) -> U64:
    """A member's vector with its share of the noise, as integers of the ring.

    Args:
        vector: float64 (d,), of an L2 norm of `ring.bound` or less; a longer one is scaled down.
        dice: rounds it; nothing of privacy hangs on it.
        entropy: random bytes that nobody can foresee; draws the noise.
    Returns:
        uint64 (d,), modulo 2**ring_bits.
    Raises:
        SecureSumFailed: the noise is too narrow for the grid.
    """
    check(noise, ring, len(vector))
    whole = rounded(vector, ring, dice)
    drawn = discrete_gaussian(share_variance(noise, ring, len(vector)), len(vector), entropy)
    return (whole + drawn).astype(np.uint64) & np.uint64(ring.mask)


def decode(total: U64, ring: Ring) -> F64:
    """The sum that members encoded, float64 (d,), with its noise."""
    signed = total.astype(np.int64)
    signed = np.where(signed >= 1 << (ring.ring_bits - 1), signed - (1 << ring.ring_bits), signed)
    return np.asarray(signed * ring.step, np.float64)


def rounded(vector: F64, ring: Ring, dice: np.random.Generator) -> I64:
    """Whole steps, each up or down at random with the right mean, again and again until they are short enough.

    Source: Kairouz et al. 2021, algorithm 1, "conditional rounding".
    Raises:
        SecureSumFailed: none was short enough.
    """
    norm = float(np.linalg.norm(vector))
    if not math.isfinite(norm):
        raise SecureSumFailed("the vector is not finite", hint="lower the learning rate")
    scaled = vector * (min(1.0, ring.bound / norm) if norm > 0.0 else 1.0) / ring.step
    low, bound = np.floor(scaled), norm_bound(ring, len(vector))
    for _ in range(TRIES_MAX):
        whole = (low + (dice.random(len(vector)) < scaled - low)).astype(np.int64)
        if int(whole @ whole) <= bound:
            return np.asarray(whole, np.int64)
    raise SecureSumFailed("no rounding is short enough", hint="more bits a coordinate")
