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


def test_reciprocal_ranks_by_hand() -> None:
    assert evaluate.mrr(np.array([0, 1, 3])) == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)


def test_the_full_ranking_leaves_out_what_was_touched() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.1, 0.1, 0.1]])
    held_out, seen = np.array([2, 0]), [np.array([0]), np.array([0, 3])]
    np.testing.assert_array_equal(evaluate.full_ranks(scores, held_out, seen), [1, 2])


def test_a_held_out_item_without_a_score_comes_last() -> None:
    scores = np.array([[np.nan, 0.2, 0.1]])
    assert evaluate.full_ranks(scores, np.array([0]), [np.zeros(0, np.int64)])[0] == 2


def test_the_chance_of_a_hit_by_hand() -> None:
    """3 of 5 competitors are better; of 2 drawn, fewer than 1 is better in 1 of 10 draws, fewer than 2 in 7."""
    rank, others = np.array([3]), np.array([5])
    assert evaluate.chance_within(rank, others, sampled=2, k=1)[0] == pytest.approx(1 / 10)
    assert evaluate.chance_within(rank, others, sampled=2, k=2)[0] == pytest.approx(7 / 10)
    assert evaluate.chance_within(rank, others, sampled=2, k=3)[0] == pytest.approx(1.0)


@given(st.integers(1, 200), st.integers(0, 200), st.integers(1, 120), st.integers(0, 2**32))
def test_the_chance_of_a_hit_is_what_many_draws_give(others: int, rank: int, sampled: int, seed: int) -> None:
    rank = min(rank, others)
    chance = evaluate.chance_within(np.array([rank]), np.array([others]), sampled)[0]
    drawn = np.random.default_rng(seed).hypergeometric(rank, others - rank, min(sampled, others), 2_000)
    assert (drawn < 10).mean() == pytest.approx(chance, abs=0.06)


def test_calibration_error_by_hand() -> None:
    """Two bins: 0.2 and 0.4 said, 0 happened; 0.9 said, 1 happened: 2/3 · 0.3 + 1/3 · 0.1."""
    said, happened = np.array([0.2, 0.4, 0.9]), np.array([0.0, 0.0, 1.0])
    assert evaluate.ece(said, happened, bins=2) == pytest.approx(2 / 3 * 0.3 + 1 / 3 * 0.1)
    assert evaluate.ece(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.0


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
