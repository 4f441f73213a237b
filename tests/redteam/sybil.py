"""A coordinator that invents the other members of a secret sum.

Their public keys come from it, so a device cannot tell invented neighbours from real ones: k_min is met, and the sum
less what the invented ones sent is the one real update. What holds then is only the noise that the device itself adds.

Source: the limit is stated by Bonawitz et al. 2017, section 6 (an active server needs a public-key infrastructure).
"""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused
from edge_agent.learn.secret import Part
from models.secure_sum.collector import Collector
from models.secure_sum.graph import Plan as Graph
from models.secure_sum.messages import Asked, Keys, Masked, Revealed, Shares, pack, unpack
from models.secure_sum.noise import Noise, decode, spare_bits
from models.secure_sum.ring import Ring

F64 = NDArray[np.float64]
CLIP, BITS = 1.0, 16
NUMBERS = 64


class Seen(Struct, frozen=True):
    """What the coordinator got of the one real device."""

    error: float
    """L2 distance between its update and what was worked out, in units of the clipping norm."""
    cosine: float


def _entropy(seed: int) -> Callable[[int], bytes]:
    dice = np.random.default_rng([seed, 12])
    return dice.bytes


def alone(update: F64, members: int, k_min: int, seed: int, noise: Noise | None = None) -> Seen:
    """A sum of one real device, which wants `k_min`, and of `members` - 1 that send zeros.

    Raises:
        RoundRefused: the device takes no part.
    """
    dice = np.random.default_rng(seed)
    ring = Ring(bound=CLIP, bits=BITS, members_max=members)
    if noise is not None:
        ring = Ring(bound=CLIP, bits=BITS, members_max=members, spare=spare_bits(noise, ring, len(update)))
    parts = [Part(_entropy(seed + n), k_min if n == 0 else 2) for n in range(members)]
    server = Collector("run:1", Graph(degree=members - 1, threshold=members - 1), ring, len(update), seed)

    def said(stage: str, member: int, body: bytes = b"") -> bytes:
        own = noise if member == 0 else None  # the invented ones add none
        asked = Asked(
            stage=stage,  # type: ignore[arg-type]
            context="run:1",
            member=member,
            members=members,
            body=body,
            ring=ring,
            noise=own,
        )
        vector = update if member == 0 else np.zeros_like(update)
        return parts[member].answer(asked, lambda: vector, dice)

    keys = {n: unpack(said("keys", n), Keys) for n in range(members)}
    shares = {n: unpack(said("shares", n, pack(one)), Shares) for n, one in server.directories(keys).items()}
    masked = {n: unpack(said("masked", n, pack(one)), Masked) for n, one in server.forwarded(shares).items()}
    told = {n: unpack(said("reveal", n, pack(one)), Revealed) for n, one in server.arrived(masked).items()}
    total, _ = server.total(told)
    found = decode(total, ring) if noise is not None else ring.decode(total, members)
    length = max(float(np.linalg.norm(found) * np.linalg.norm(update)), 1e-30)
    return Seen(round(float(np.linalg.norm(found - update) / CLIP), 4), round(float(found @ update) / length, 4))


def attack(seed: int) -> dict[str, object]:
    """With invented members, with too few of them, and with the device's own noise."""
    dice = np.random.default_rng(seed)
    update = dice.normal(size=NUMBERS)
    update *= 0.9 * CLIP / np.linalg.norm(update)
    try:
        alone(update, 3, 5, seed)
        refused = False
    except RoundRefused:
        refused = True
    own = update + np.random.default_rng([seed, 13]).normal(0.0, 8.0 * CLIP, NUMBERS)
    own_noise = float(own @ update / (np.linalg.norm(own) * np.linalg.norm(update)))
    return {
        "seed": seed,
        "attack": "all members but one are the coordinator's own; numbers in a vector: 64",
        "fewer than k_min": "refused" if refused else "taken part",
        "k_min met by invented members": alone(update, 5, 5, seed),
        "the same, shares of noise made for 5": alone(update, 5, 5, seed, Noise(multiplier=4.0, least=5)),
        "the same, the device's own noise 8": {"cosine": round(own_noise, 4)},
    }
