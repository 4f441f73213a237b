"""The reward model finds what is there, and shrinks what it has hardly seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.offpolicy.reward_model import fit, folds


def test_it_finds_means_and_slope() -> None:
    dice = np.random.default_rng(1)
    action, x = dice.integers(0, 3, 20_000), dice.normal(0.0, 1.0, (20_000, 1))
    rate = np.array([0.2, 0.4, 0.6])[action] + 0.05 * x[:, 0]
    reward = (dice.random(20_000) < rate).astype(np.float64)
    model = fit(action, x, reward, 3)
    assert model.means == pytest.approx([0.2, 0.4, 0.6], abs=0.02)
    assert model.slope == pytest.approx([0.05], abs=0.01)


def test_an_action_never_seen_is_expected_to_earn_the_mean() -> None:
    model = fit(np.zeros(100, np.int64), np.zeros((100, 0)), np.full(100, 0.3), 2)
    assert model.expected(np.array([1]), np.zeros((1, 0))) == pytest.approx([0.3])


def test_no_rounds_make_a_model_all_the_same() -> None:
    model = fit(np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0), 2)
    assert model.expected(np.array([0, 1]), np.ones((2, 2))).tolist() == [0.0, 0.0]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80), st.integers(0, 99))
def test_a_cluster_is_never_torn_between_folds(given_clusters: list[int], seed: int) -> None:
    cluster = np.unique(np.array(given_clusters), return_inverse=True)[1]
    own = folds(len(cluster), cluster, seed)
    for one in np.unique(cluster):
        assert len(set(own[cluster == one].tolist())) == 1


def test_folds_are_even() -> None:
    assert np.bincount(folds(100, None, 0)).tolist() == [20] * 5
