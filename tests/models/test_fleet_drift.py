"""What a fleet's sum of tenths says: nothing where nothing moved, the index where something did, how sure that is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs.fleet_drift import TENTHS, DriftShape
from firmware_configs.profile import DriftDetector
from models.fleet_drift import LIMIT, Moved, moved

LIGHT = DriftDetector(name="light", watch="input", source="room", field="light", fleet=True)
SCORES = DriftDetector(name="scores", watch="prediction", placement="presence", fleet=True, test="ks")
CLIP = 20.0


def _sum(shape: DriftShape, shares: list[list[float]], devices: int, deviation: float, seed: int) -> list[Moved]:
    scale = CLIP / len(shares) ** 0.5
    total = np.concatenate([np.array(one) for one in shares]) * scale * devices
    total = total + np.random.default_rng(seed).normal(0.0, deviation, len(total)) if deviation else total
    return moved(total, shape, CLIP, deviation, np.random.default_rng(0))


EVEN = [1.0 / TENTHS] * TENTHS
UP = [0.02, 0.03, 0.05, 0.05, 0.05, 0.1, 0.1, 0.15, 0.2, 0.25]


def _index(shares: list[float]) -> float:
    q, p = np.array(shares), 1.0 / TENTHS
    return float(((q - p) * np.log(q / p)).sum())


def test_a_fleet_that_stands_still_is_as_usual_and_one_that_moved_has() -> None:
    shape = DriftShape(detectors=(LIGHT, SCORES))
    light, scores = _sum(shape, [EVEN, UP], 200, 10.0, seed=1)
    assert (light.name, light.what, light.verdict) == ("light", "light of room", "as usual")
    assert light.high is not None
    assert 0.0 <= light.low <= light.psi <= light.high < LIMIT
    assert (scores.what, scores.verdict) == ("prediction of presence", "moved")
    assert scores.low <= _index(UP) <= (scores.high or 0.0)
    assert scores.psi == pytest.approx(_index(UP), rel=0.2)
    assert light.devices == pytest.approx(200, rel=0.05)


def test_without_noise_it_is_the_index_itself_but_for_what_samples_scatter() -> None:
    (found,) = _sum(DriftShape(detectors=(LIGHT,)), [UP], 100, 0.0, seed=0)
    assert found.psi == pytest.approx(_index(UP), rel=0.02)


def test_below_the_noise_nothing_is_claimed() -> None:
    shape = DriftShape(detectors=(LIGHT,))
    for seed in range(20):
        (few,) = _sum(shape, [UP], 3, 40.0, seed)
        assert few.verdict == "not known"
    (nobody,) = moved(np.zeros(TENTHS), shape, CLIP, 0.0, np.random.default_rng(0))
    assert (nobody.verdict, nobody.high) == ("not known", None)


def test_the_interval_holds_what_is_so_as_often_as_it_says() -> None:
    shape, within = DriftShape(detectors=(LIGHT,)), []
    for seed in range(200):
        half = [0.1 + 0.5 * (one - 0.1) for one in UP]
        (found,) = _sum(shape, [half], 60, 20.0, seed)
        within.append(found.high is not None and found.low <= _index(half) <= found.high)
    assert np.mean(within) >= 0.92


def test_a_fleet_that_stands_still_is_seldom_said_to_have_moved() -> None:
    shape = DriftShape(detectors=(LIGHT,))
    said = [_sum(shape, [EVEN], 30, 20.0, seed)[0].verdict for seed in range(200)]
    assert said.count("moved") <= 5


@settings(deadline=None, max_examples=60)
@given(
    total=st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=TENTHS, max_size=TENTHS),
    deviation=st.floats(0.0, 1e3),
)
def test_whatever_was_added_up_the_figures_are_numbers_in_their_order(total: list[float], deviation: float) -> None:
    (found,) = moved(np.array(total), DriftShape(detectors=(LIGHT,)), CLIP, deviation, np.random.default_rng(0))
    assert np.isfinite([found.psi, found.low, found.devices]).all()
    assert found.low >= 0.0
    assert found.high is None or found.low <= found.high
