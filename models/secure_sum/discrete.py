"""Whole numbers with P(x) ∝ exp(-x² / 2σ²), exactly: what double precision cannot decide is decided by more digits.

Source: Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy", algorithms 1 to 3.
"""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.secure_sum.shares import Entropy

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
BOOLS = NDArray[np.bool_]
MARGIN = 2.0**-36
"""Relative error that double precision may make in a coin's probability; within 30σ it makes less than 2**-41."""
COIN_BITS = 53
VARIANCE_MAX = 2**80


def discrete_gaussian(variance: Fraction, size: int, entropy: Entropy, margin: float = MARGIN) -> I64:
    """Draws from the discrete Gaussian around 0.

    Args:
        variance: σ², above 0 and below `VARIANCE_MAX`. What is drawn varies by no more than this.
        entropy: random bytes that nobody can foresee.
        margin: a coin this near to its probability (relative) is decided in exact numbers.
    Returns:
        int64 (size,).
    Raises:
        ValueError: the variance is out of its range.
    """
    if not 0 < variance < VARIANCE_MAX:
        raise ValueError(f"a variance of {float(variance):g} is out of range")
    scale = math.isqrt(int(variance)) + 1
    centre = variance / scale
    found: list[I64] = [np.zeros(0, np.int64)]
    missing = size
    while missing > 0:
        drawn = _discrete_laplace(scale, 2 * missing + 16, entropy, margin)

        def exponent(at: int, drawn: I64 = drawn) -> Fraction:
            return (abs(int(drawn[at])) - centre) ** 2 / (2 * variance)

        near = (np.abs(drawn) - float(centre)) ** 2 / (2.0 * float(variance))
        kept = drawn[_coins(near, exponent, entropy, margin)][:missing]
        found.append(kept)
        missing -= len(kept)
    return np.concatenate(found)


def _discrete_laplace(scale: int, size: int, entropy: Entropy, margin: float) -> I64:
    """About `size` draws with P(x) ∝ exp(-|x| / scale): algorithm 2."""
    low = _below(scale, size, entropy)
    low = low[_coins(low / scale, lambda at: Fraction(int(low[at]), scale), entropy, margin)]
    high = np.zeros(len(low), np.int64)
    going = np.arange(len(low))
    while len(going):
        going = going[_coins(np.ones(len(going)), lambda _at: Fraction(1), entropy, margin)]
        high[going] += 1
    size_of = low + scale * high
    negative = np.frombuffer(entropy(len(low)), np.uint8) & 1 == 1
    real = ~(negative & (size_of == 0))  # zero has one sign
    return np.asarray(np.where(negative, -size_of, size_of)[real], np.int64)


def _below(bound: int, size: int, entropy: Entropy) -> I64:
    """Uniform whole numbers from 0 to bound - 1, int64 (size,)."""
    mask = np.uint64((1 << (bound - 1).bit_length()) - 1)
    found: list[I64] = []
    missing = size
    while missing > 0:
        drawn = (_words(2 * missing, entropy) & mask).astype(np.int64)
        kept = drawn[drawn < bound][:missing]
        found.append(kept)
        missing -= len(kept)
    return np.concatenate(found)


def _words(size: int, entropy: Entropy) -> NDArray[np.uint64]:
    return np.frombuffer(entropy(8 * size), np.uint64)


def _coins(exponent: F64, exact: Callable[[int], Fraction], entropy: Entropy, margin: float) -> BOOLS:
    """True with probability exp(-exponent), each.

    Args:
        exponent: float64 (n,), at least 0, as near as double precision comes.
        exact: position → the exponent itself.
    """
    thrown = _words(len(exponent), entropy) >> np.uint64(64 - COIN_BITS)
    unit = 2.0**-COIN_BITS
    least, likely = thrown.astype(np.float64) * unit, np.exp(-exponent)
    heads = least + unit <= likely * (1.0 - margin)
    tails = least >= likely * (1.0 + margin)
    for at in np.flatnonzero(~heads & ~tails):
        heads[at] = _decided(int(thrown[at]), exact(int(at)), entropy)
    return np.asarray(heads, np.bool_)


def _decided(thrown: int, exponent: Fraction, entropy: Entropy) -> bool:
    """Whether a number of [0, 1), of which the first bits are known, is below exp(-exponent)."""
    bits, digits = COIN_BITS, 30
    while True:
        with localcontext() as context:
            context.prec = digits
            likely = Fraction((Decimal(-exponent.numerator) / Decimal(exponent.denominator)).exp())
        # The quotient is off by a unit of its last digit, the exponential by another of its own.
        error = Fraction(1, 10 ** (digits - 3)) * (1 + exponent) * max(likely, Fraction(1, 10**digits))
        low = Fraction(thrown, 1 << bits)
        if low + Fraction(1, 1 << bits) <= likely - error:
            return True
        if low >= likely + error:
            return False
        thrown = (thrown << 64) | int.from_bytes(entropy(8))
        bits, digits = bits + 64, digits + 20
