"""A coordinator that invents the other members reads the one real update: stated, and held to what still protects."""

import numpy as np
import pytest

from edge_agent.errors import RoundRefused
from models.secure_sum.noise import Noise
from tests.redteam.sybil import CLIP, NUMBERS, alone


def _update() -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    update = np.random.default_rng(0).normal(size=NUMBERS)
    return update * (0.9 * CLIP / np.linalg.norm(update))


def test_invented_members_meet_k_min_and_uncover_the_update() -> None:
    assert alone(_update(), 5, 5, 0).cosine > 0.999, "the docs say that this attack wins"


def test_too_few_invented_members_are_refused() -> None:
    with pytest.raises(RoundRefused):
        alone(_update(), 3, 5, 0)


def test_the_devices_own_share_of_the_noise_stays_on_the_update() -> None:
    found = alone(_update(), 5, 5, 0, Noise(multiplier=4.0, least=5))
    assert found.cosine < 0.5
    assert found.error > 5.0
