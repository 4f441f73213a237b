"""Measures against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import baselines, evaluate


def test_the_held_out_item_ranks_behind_all_that_score_as_high() -> None:
    scores = np.array([[0.5, 0.9, 0.1], [0.5, 0.5, 0.5], [0.9, 0.1, 0.2]])
    np.testing.assert_array_equal(evaluate.ranks(scores), [1, 2, 0])


def test_hit_rate_and_ndcg_of_three_people() -> None:
    rank = np.array([0, 2, 10])
    assert evaluate.hit_rate(rank) == pytest.approx(2 / 3)
    assert evaluate.ndcg(rank) == pytest.approx((1.0 + 0.5) / 3)


def test_auc_counts_ties_as_half() -> None:
    label = np.array([1, 0, 1, 0], np.float32)
    assert evaluate.auc(np.array([0.9, 0.1, 0.8, 0.2]), label) == 1.0
    assert evaluate.auc(np.array([0.5, 0.5, 0.5, 0.5]), label) == 0.5
    assert evaluate.auc(np.array([0.9, 0.5, 0.5, 0.1]), label) == pytest.approx(3.5 / 4)
    assert math.isnan(evaluate.auc(np.array([0.1, 0.2]), np.ones(2)))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    score, label = (np.array(column, float) for column in zip(*rows, strict=True))
    pairs = [(p > n) + 0.5 * (p == n) for p in score[label == 1] for n in score[label == 0]]
    got = evaluate.auc(score, label)
    assert got == pytest.approx(np.mean(pairs)) if pairs else math.isnan(got)


def test_losses_and_rates_by_hand() -> None:
    p, y = np.array([0.8, 0.4, 0.6]), np.array([1.0, 0.0, 0.0])
    assert evaluate.log_loss(p, y) == pytest.approx(-(math.log(0.8) + math.log(0.6) + math.log(0.4)) / 3)
    assert evaluate.accuracy(p, y) == pytest.approx(2 / 3)
    assert evaluate.f1(p, y) == pytest.approx(2 / 3)
    assert evaluate.f1(np.zeros(2), np.ones(2)) == 0.0
    assert math.isfinite(evaluate.log_loss(np.array([0.0]), np.array([1.0])))


def test_an_interval_holds_the_measure_and_repeats() -> None:
    dice = np.random.default_rng(1)
    label = dice.integers(0, 2, 300).astype(float)
    score = label * 0.5 + dice.random(300)
    low, high = evaluate.interval(evaluate.auc, score, label, seed=2)
    assert low < evaluate.auc(score, label) < high
    assert evaluate.interval(evaluate.auc, score, label, seed=2) == (low, high)


def test_logistic_regression_finds_the_line_that_made_the_labels() -> None:
    dice = np.random.default_rng(3)
    x = dice.normal(5.0, 3.0, (4_000, 2)).astype(np.float32)
    truth = 1.0 / (1.0 + np.exp(-(1.5 * x[:, 0] - x[:, 1] - 2.0)))
    y = (dice.random(4_000) < truth).astype(np.float32)
    p = baselines.logistic_regression(x, y, x, ridge=1e-6)
    assert np.abs(p - truth).mean() < 0.02


def test_a_rate_is_pulled_to_the_mean_where_little_was_seen() -> None:
    rate = baselines.smoothed_rate(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0], np.float32), 3, prior=2.0)
    np.testing.assert_allclose(rate, [0.75, 0.25, 0.5])
    np.testing.assert_array_equal(baselines.popularity(np.array([2, 2, 0]), 3), [1, 0, 2])
