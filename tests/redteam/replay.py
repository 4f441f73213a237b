"""Old words said again: wishes by a broker that kept them, and rounds by a coordinator that averages the noise away.

The devices are a real agent's step on a home in memory: which offers it takes, which replies its ledger lets out. The
replies are made by the learner's own `make_update`.
"""

from collections.abc import Iterable

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_agent.effects import Answer, Train
from edge_agent.happenings import EgressAsked
from edge_agent.learn.update import dequantise, make_update
from firmware_configs.gaussian import local_mu_squared
from firmware_configs.messages import Desired, RoundOffer, Topics
from tests.edge_agent.house import DEVICE, HOME, House, bundle

NOISE, EPSILON = 4.0, 3.0
DECLARED = f"privacy = {{ clip_norm = 1.0, noise_multiplier = {NOISE}, epsilon_max = {EPSILON}, delta = 1e-5 }}"
UNBOUNDED = f"privacy = {{ clip_norm = 1.0, noise_multiplier = {NOISE}, delta = 1e-5 }}"
NUMBERS = 16
ASKED = 1_500
"""How often a device is asked for the same update."""
OLD = 20


class Averaged(Struct, frozen=True):
    """What a coordinator that asks again and again gets."""

    asked: int
    answered: int
    cosine: float
    """Of the mean of all answers with the update without noise; 0: nothing, 1: the update."""


class Found(Struct, frozen=True):
    """All figures."""

    old_wishes: int
    taken: int
    taken_without_revisions: int
    """The control: the same wishes as new revisions."""
    within_a_budget: Averaged
    without_a_budget: Averaged
    """The control: a profile that states no ε for a bundle."""


def lived_in(text: str = HOME) -> House:
    """A home with something to learn from."""
    house = House(text).everyone_agrees()
    for number in range(8):
        house.tell(house.pick(number))
        made = house.decisions()[-1]
        house.tell(house.message(Topics(DEVICE).of("feedback"), {"decision_id": made.id, "outcome": "click"}))
    return house


def offers(revisions: Iterable[int]) -> list[Desired]:
    """A round each, one after another."""
    version = bundle("affinity").version
    return [
        Desired(
            revision=revision,
            device=DEVICE,
            offer=RoundOffer(
                run=str(number), bundle="affinity", version=version, superlink="s:1", app_hash="h", closes_ms=0
            ),
        )
        for number, revision in enumerate(revisions, start=1)
    ]


def said(house: House, wishes: Iterable[Desired]) -> int:
    """Tell them all; how many rounds begin."""
    begun = 0
    for wish in wishes:
        effects = house.tell(house.message(Topics(DEVICE).of("desired"), msgspec.msgpack.encode(wish)))
        begun += sum(isinstance(effect, Train) for effect in effects)
    return begun


def wishes(*, revised: bool) -> int:
    """Rounds that begin when a newer wish was heard and older ones come again.

    Args:
        revised: whether they come as newer revisions, as only the coordinator can say them.
    """
    house = lived_in()
    said(house, [replace(offers([OLD + 1])[0], offer=None)])
    return said(house, offers(range(OLD + 2, 2 * OLD + 2) if revised else range(1, OLD + 1)))


def averaged(declared: str, seed: int) -> Averaged:
    """Ask one device for the same update again and again, in rounds of any name."""
    dice = np.random.default_rng([seed, 21])
    house = lived_in(HOME.replace("privacy = { clip_norm = 20.0, secret_sum = true }", declared))
    before = {"w": np.zeros(NUMBERS, np.float32)}
    truth: NDArray[np.float64] = dice.normal(size=NUMBERS)
    after = {"w": (truth / np.linalg.norm(truth)).astype(np.float32)}
    heard = []
    for number in range(ASKED):
        update, _ = make_update(before, after, {}, 1.0, NOISE, dice)
        ask = EgressAsked(
            token=str(number),
            kind="update",
            destination="superlink",
            bytes=10,
            sha256="00",
            privacy="clip 1",
            bundle="affinity",
            mu_squared=local_mu_squared(NOISE),
        )
        if not any(isinstance(effect, Answer) and effect.granted for effect in house.tell(ask)):
            break  # what is spent stays spent
        heard.append(dequantise(update.delta["w"], update.scale["w"]))
    mean = np.mean(heard, axis=0) if heard else np.zeros(NUMBERS)
    cosine = float(mean @ truth / max(1e-12, float(np.linalg.norm(mean) * np.linalg.norm(truth))))
    return Averaged(ASKED, len(heard), round(cosine, 3))


def attack(seed: int) -> Found:
    """All figures."""
    return Found(
        old_wishes=OLD,
        taken=wishes(revised=False),
        taken_without_revisions=wishes(revised=True),
        within_a_budget=averaged(DECLARED, seed),
        without_a_budget=averaged(UNBOUNDED, seed),
    )
