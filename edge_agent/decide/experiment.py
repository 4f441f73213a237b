"""Which arm of an experiment a person is in: by keyed hash, so it needs no memory and is the same on all their devices.

A person has one place in [0, 1) for each layer: experiments of a layer take disjoint stretches of it, so that nobody
is in two of them; places of different layers are independent. Within an experiment each arm draws a number for the
person, and the smallest -log(u)/weight wins: a changed share moves only people into or out of the arms that changed,
and an arm that is added takes people from the others and moves nobody between them.

Sources: Kohavi et al. 2009, "Controlled experiments on the web", 4.1 (bucketing by hash); Tang et al. 2010,
"Overlapping Experiment Infrastructure" (layers); Thaler and Ravishankar 1998 (highest random weight) with
Schindelhauer and Schomaker 2005, "Weighted Distributed Hash Tables" (its weights).
"""

import hashlib
import math
from collections.abc import Mapping
from typing import NamedTuple

from firmware_configs import designs
from firmware_configs.consistency.experiments import instant_ms
from firmware_configs.profile import Arm, Experiment, Experiments


class Seat(NamedTuple):
    """Where a person sits in an experiment."""

    experiment: str = ""
    layer: str = ""
    arm: str = ""
    """Empty: in none."""
    probability: float = 1.0
    """With which a person of the experiment comes into this arm under the allocation."""
    allocation: int = 0
    left_out: str = ""
    """Why the person is in no arm."""


NOWHERE = Seat()


class Assignment:
    """One experiment, ready to seat people.

    Attributes:
        allocation: number of the shares that hold now; 0: the profile's own.
        shares: probability of each arm.
    """

    def __init__(self, experiment: Experiment, common: Experiments, key: bytes) -> None:
        """Set up.

        Args:
            common: holdout and layers of the profile.
            key: shared by the devices that are to agree.
        """
        self.experiment = experiment
        self.arms: tuple[Arm, ...] = designs.arms(experiment)
        self._key = hashlib.sha256(b"experiments\x00" + key).digest()
        self._layer = experiment.layer or f"\x00{experiment.name}"
        self._holdout = common.holdout
        self._top = 1.0 - next((layer.holdout for layer in common.layer if layer.name == experiment.layer), 0.0)
        self.starts_ms, self.ends_ms = instant_ms(experiment.starts), instant_ms(experiment.ends)
        weights = [arm.weight for arm in self.arms]
        self.allocation = 0
        self.shares: tuple[float, ...] = tuple(weight / sum(weights) for weight in weights)

    def allocate(self, number: int, shares: Mapping[str, float]) -> bool:
        """Take other shares; False when they are not ours: older, for other arms, or no probabilities."""
        new = tuple(shares.get(arm.name, -1.0) for arm in self.arms)
        sound = len(shares) == len(new) and all(0.0 <= share <= 1.0 for share in new)
        if number <= self.allocation or not sound or abs(sum(new) - 1.0) > 1e-5:
            return False
        self.allocation, self.shares = number, new
        return True

    def begun(self, now_ms: int) -> bool:
        """Whether the experiment has started."""
        return self.starts_ms is None or now_ms >= self.starts_ms

    def seat(self, person: str, now_ms: int) -> Seat:
        """The person's seat; one without an arm for whoever takes no part, now or at all."""
        name = self.experiment.name
        if self._holdout and self._uniform("holdout", "", person) < self._holdout:
            return Seat(left_out="held out of all experiments")
        if not self.begun(now_ms):
            return Seat(left_out=f"{name} has not begun")
        if self.ends_ms is not None and now_ms >= self.ends_ms:
            return Seat(left_out=f"{name} is over")
        at = self._uniform("layer", self._layer, person)
        start = self.experiment.position
        if at >= self._top:
            return Seat(left_out=f"held out of layer {self.experiment.layer}")
        if not start <= at < start + self.experiment.share:
            return Seat(left_out=f"not in the share of {name}")
        place = self._place(person)
        return Seat(name, self.experiment.layer, self.arms[place].name, self.shares[place], self.allocation)

    def _place(self, person: str) -> int:
        best, least = 0, math.inf
        for n, (arm, share) in enumerate(zip(self.arms, self.shares, strict=True)):
            if share > 0.0:
                cost = -math.log(self._uniform(self.experiment.name, arm.name, person)) / share
                if cost < least:
                    best, least = n, cost
        return best

    def _uniform(self, what: str, name: str, person: str) -> float:
        """In (0, 1): 53 bits of BLAKE2b under the key."""
        text = f"{what}\x00{name}\x00{person}".encode()
        digest = hashlib.blake2b(text, key=self._key, digest_size=8).digest()
        return ((int.from_bytes(digest) >> 11) + 0.5) * 2.0**-53


def assign(experiment: Experiment, subject: str, secret: bytes) -> Arm | None:
    """The person's arm in an experiment alone in its layer; None for people outside of its share."""
    assignment = Assignment(experiment, Experiments(), secret)
    seat = assignment.seat(subject, assignment.starts_ms or 0)
    return next((arm for arm in assignment.arms if arm.name == seat.arm), None)


def keyed(own: bytes, home: str) -> bytes:
    """The key of assignments: the home's where there is one, so that its devices agree, else the device's own."""
    return hashlib.sha256(b"home\x00" + home.encode()).digest() if home else own
