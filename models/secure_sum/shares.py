"""A secret in pieces of which any `threshold` give it back and fewer say nothing.

Source: Shamir 1979, "How to share a secret", over the integers modulo the Mersenne prime 2^521 - 1.
"""

from collections.abc import Callable, Mapping, Sequence

from models.errors import SecureSumFailed

PRIME = (1 << 521) - 1
SHARE_BYTES = 66
SECRET_BYTES = 32
Entropy = Callable[[int], bytes]
"""Gives so many random bytes that nobody can foresee."""


def split(secret: bytes, points: Sequence[int], threshold: int, entropy: Entropy) -> dict[int, bytes]:
    """A share for each point.

    Args:
        secret: 32 bytes.
        points: distinct, from 1.
        threshold: shares that give the secret back, from 1 to len(points).
    Raises:
        SecureSumFailed: the threshold or the points are out of range.
    """
    if not 1 <= threshold <= len(points) or len(set(points)) != len(points) or min(points) < 1:
        raise SecureSumFailed(f"{len(points)} points cannot hold a threshold of {threshold}", hint="more neighbours")
    # 128 bits more than the prime has: the remainder's bias is beyond notice.
    rest = [int.from_bytes(entropy(SHARE_BYTES + 16)) % PRIME for _ in range(threshold - 1)]
    powers = [int.from_bytes(secret), *rest]
    shares = {}
    for point in points:
        value = 0
        for factor in reversed(powers):
            value = (value * point + factor) % PRIME
        shares[point] = value.to_bytes(SHARE_BYTES)
    return shares


def recover(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret, from any `threshold` of its shares.

    Raises:
        SecureSumFailed: there are too few, or they do not belong together.
    """
    if len(shares) < threshold:
        raise SecureSumFailed(f"{len(shares)} shares, {threshold} are needed", hint="too many members vanished")
    chosen = dict(sorted(shares.items())[:threshold])
    secret = 0
    for point, share in chosen.items():
        above = below = 1
        for other in chosen:
            if other != point:
                above = above * other % PRIME
                below = below * (other - point) % PRIME
        secret = (secret + int.from_bytes(share) * above * pow(below, -1, PRIME)) % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise SecureSumFailed("the shares do not belong together", hint="a member sent a wrong one")
    return secret.to_bytes(SECRET_BYTES)
