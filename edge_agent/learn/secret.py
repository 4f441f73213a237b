"""This device's part in a secret sum: an update of which the server sees only the sum with others'.

The stages of one sum come as messages of one run; between them the member's secrets live in the learner's memory and
nowhere else. A learner that is cut in between has vanished from that sum.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused
from edge_agent.learn.plan import Plan
from models import sparse
from models.errors import SecureSumFailed
from models.secure_sum import noise
from models.secure_sum.member import Member
from models.secure_sum.messages import Arrived, Asked, Directory, Shares, pack, unpack
from models.secure_sum.noise import Noise
from models.secure_sum.shares import Entropy

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
SEEN_MIN = 12
"""Devices of a sum, itself among them, that a device must see; sparse graphs show each member more than these."""


class Part:
    """What this device holds of the sums of one run."""

    def __init__(self, entropy: Entropy, members_min: int) -> None:
        """Begin.

        Args:
            entropy: random bytes that nobody can foresee.
            members_min: with fewer nobody takes part: the profile's k_min.
        """
        self._entropy, self._members_min = entropy, members_min
        self._context = ""
        self._member: Member | None = None
        self._noise: Noise | None = None
        self.is_last = False
        """Whether the sum under way is the run's last round."""

    def answer(self, asked: Asked, update: Callable[[], F64], dice: np.random.Generator) -> bytes:
        """The reply to a stage.

        Args:
            asked: what the server asks.
            update: trains, and gives the clipped update, float64 (d,); called at stage masked only.
            dice: rounds it into the ring.
        Raises:
            RoundRefused: too few members, a stage out of order, or a message that is none; the sum goes on without.
        """
        try:
            return self._answer(asked, update, dice)
        except SecureSumFailed as error:
            raise RoundRefused(f"secret sum: {error.what}", hint=error.hint) from error

    def _answer(self, asked: Asked, update: Callable[[], F64], dice: np.random.Generator) -> bytes:
        if asked.stage == "keys":
            return self._begin(asked)
        member = self._member
        if member is None or asked.context != self._context:
            raise RoundRefused("the secret sum did not begin here", hint="the next round counts")
        match asked.stage:
            case "shares":
                directory = unpack(asked.body, Directory)
                self._enough(len(directory.keys))
                return pack(member.shares(directory))
            case "masked":
                asked.ring.check()
                self._noise = asked.noise
                if asked.noise is None:
                    vector = asked.ring.encode(update(), dice)
                else:
                    vector = noise.encode(update(), asked.noise, asked.ring, dice, self._entropy)
                return pack(member.masked(unpack(asked.body, Shares), vector, asked.ring))
            case "reveal":
                self._member = None  # a secret answers once
                arrived = unpack(asked.body, Arrived)
                self._enough(len(set(arrived.members)))
                self._noised_enough(len(set(arrived.members)))
                return pack(member.revealed(arrived))

    def _begin(self, asked: Asked) -> bytes:
        if asked.members < self._members_min:
            raise RoundRefused(
                f"{asked.members} members were asked, this profile wants {self._members_min} added up",
                hint="ask more devices, or change k_min of the profile's update egress",
            )
        if asked.context == self._context:
            raise RoundRefused("a secret sum cannot begin twice", hint="start a new round")
        self._context = asked.context
        self._member = Member(asked.member, asked.context, self._entropy)
        return pack(self._member.keys())

    def _enough(self, neighbours: int) -> None:
        """Refuse a sum of which this device can see that it holds too few.

        It sees its neighbours. In a small sum these are all the others, and k_min is held exactly; in a large one they
        are a sample, and beyond `SEEN_MIN` the coordinator's word for the rest is taken.
        """
        needed = min(self._members_min, SEEN_MIN)
        if neighbours + 1 < needed:
            raise RoundRefused(
                f"{neighbours + 1} devices are left, this profile wants {self._members_min} added up",
                hint="ask more devices, or change k_min of the profile's update egress",
            )

    def _noised_enough(self, neighbours: int) -> None:
        """Refuse to unmask a sum whose noise would be less than was stated, as far as this device can see."""
        least = self._noise.least if self._noise is not None else 0
        if neighbours + 1 < min(least, SEEN_MIN):
            raise RoundRefused(
                f"{neighbours + 1} devices are left, the noise was made for {least} or more",
                hint="the round is abandoned; state a larger share that may vanish",
            )


def noise_told(noise: Noise) -> str:
    """What a device adds to a sum, as its ledger says it."""
    return f"discrete Gaussian share: noise multiplier {noise.multiplier:.4g} on the sum of {noise.least} or more"


def vector_of(
    plan: Plan, before: Mapping[str, F32], after: Mapping[str, F32], residual: Mapping[str, F32], clip_norm: float
) -> tuple[F64, dict[str, F32]]:
    """What training changed, as a secret sum takes it.

    Args:
        plan: its `names` give the order; `random_k`, `seed` and `round` what of it is sent; `count_weight` whether one
            more number says if it was within the plan's own clipping norm.
        residual: what earlier rounds did not send.
        clip_norm: L2 norm that the device allows, at most the plan's.
    Returns:
        float64 (d,), of that norm or less (with the count of a longer one), and what to keep for the next round.
    """
    change = np.concatenate([(np.asarray(after[n], np.float64) - before[n]).reshape(-1) for n in plan.names])
    left: dict[str, F32] = {}
    if plan.random_k:
        change += np.concatenate([residual[n].reshape(-1) for n in plan.names]) if residual else 0.0
        sent = sparse.drawn(len(change), sparse.kept(len(change), plan.random_k), plan.seed, plan.round)
        rest = change.copy()
        rest[sent] = 0.0
        left, change = _shaped(rest, before, plan.names), change[sent]
    vector, norm = clipped(change, clip_norm)
    if plan.count_weight:
        # A device that clips to less is within, whatever its update was.
        within = clip_norm < plan.clip_norm or norm <= plan.clip_norm
        vector = np.append(vector, plan.count_weight if within else -plan.count_weight)
    return vector, left


def clipped(change: F64, clip_norm: float) -> tuple[F64, float]:
    """The change scaled down to an L2 norm of `clip_norm`, and the norm that it had, which stays on the device."""
    norm = float(np.linalg.norm(change))
    return np.asarray(change * min(1.0, clip_norm / norm) if norm > 0.0 else change, np.float64), norm


def _shaped(vector: F64, like: Mapping[str, F32], names: tuple[str, ...]) -> dict[str, F32]:
    shaped, at = {}, 0
    for name in names:
        shaped[name] = np.asarray(vector[at : at + like[name].size], np.float32).reshape(like[name].shape)
        at += like[name].size
    return shaped
