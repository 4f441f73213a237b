"""Thompson sampling's probabilities, held to draws from the posteriors themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decide.bandit import beta, normal
from edge_agent.decide.bandit.estimates import Estimates
from edge_agent.limits import CONTENDERS_MAX

DRAWS = 400_000


@pytest.mark.parametrize("seed", range(6))
def test_normal_posteriors_win_as_often_as_their_draws_do(seed: int) -> None:
    dice = np.random.default_rng(seed)
    count = int(dice.integers(2, 11))
    mean, deviation = dice.normal(size=count), np.exp(1.5 * dice.normal(size=count))
    largest = (mean[:, None] + deviation[:, None] * dice.standard_normal((count, DRAWS))).argmax(axis=0)
    observed = np.bincount(largest, minlength=count) / DRAWS
    # 0.0025: three standard errors of the draws, and what the cells cost (below 0.001, docs/adr).
    assert normal.vector(Estimates(mean, deviation)) == pytest.approx(observed, abs=0.0035)


@pytest.mark.parametrize("seed", range(4))
def test_beta_posteriors_win_as_often_as_their_draws_do(seed: int) -> None:
    dice = np.random.default_rng(seed)
    a, b = dice.uniform(0.5, 40.0, (2, 6))
    observed = np.bincount(dice.beta(a[:, None], b[:, None], (6, DRAWS)).argmax(axis=0), minlength=6) / DRAWS
    mean = a / (a + b)
    found = beta.vector(Estimates(mean, np.sqrt(mean * (1 - mean) / (a + b + 1)), np.array([a, b])))
    assert found == pytest.approx(observed, abs=0.004)


def test_of_two_normals_the_probability_is_the_textbook_one() -> None:
    found = normal.vector(Estimates(np.array([0.3, 0.0]), np.array([0.4, 0.3])))
    assert found[0] == pytest.approx(0.7257, abs=2e-3)  # Φ(0.3 / 0.5)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0.0, 1e3)), min_size=1, max_size=40),
    st.floats(1e-3, 10.0),
)
def test_whatever_the_posteriors_they_add_up_to_one(pairs: list[tuple[float, float]], spread: float) -> None:
    mean, deviation = np.array(pairs).T
    found = normal.vector(Estimates(mean, deviation), spread)
    assert found.min() >= 0.0
    assert found.sum() == pytest.approx(1.0, abs=1e-9)


def test_equals_win_equally_often() -> None:
    found = normal.vector(Estimates(np.full(7, 0.4), np.full(7, 0.2)))
    assert found == pytest.approx(np.full(7, 1 / 7), abs=1e-9)
    certain = normal.vector(Estimates(np.full(3, 0.4), np.zeros(3)))
    assert certain == pytest.approx(np.full(3, 1 / 3), abs=1e-9)


def test_only_so_many_contend() -> None:
    count = CONTENDERS_MAX + 50
    found = normal.vector(Estimates(np.linspace(0.0, 1e-3, count), np.ones(count)))
    assert (found > 0.0).sum() == CONTENDERS_MAX
    assert found[-1] > 0.0


def test_the_distribution_function_is_the_normal_one() -> None:
    from math import erf, sqrt

    points = np.linspace(-6, 6, 501)
    exact = [0.5 * (1 + erf(z / sqrt(2))) for z in points]
    assert normal.cumulative(points) == pytest.approx(exact, abs=1e-7)
