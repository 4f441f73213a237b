"""Gaussian noise is worth what dp-accounting says, at every scale, without dp-accounting on the device."""

import math

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs.gaussian import delta, epsilon, local_mu_squared


@pytest.mark.parametrize("noise", [0.3, 0.7, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("at", [0.0, 0.1, 1.0, 5.0, 30.0])
def test_delta_is_what_dp_accounting_says(noise: float, at: float) -> None:
    said = GaussianPrivacyLoss(noise).get_delta_for_epsilon(at)
    assert delta(at, noise**-2) == pytest.approx(said, rel=1e-6, abs=1e-14)


@pytest.mark.parametrize(("noise", "rounds"), [(1.0, 1), (2.0, 10), (8.0, 100), (0.8, 3)])
def test_local_rounds_cost_what_dp_accounting_says_of_noise_half_as_wide(noise: float, rounds: int) -> None:
    """Any two updates of norm C are 2C apart: noise of multiplier z is worth z / 2."""
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(noise / 2), rounds)
    said = PLDAccountant().compose(event).get_epsilon(1e-5)
    ours = epsilon(rounds * local_mu_squared(noise), 1e-5)
    assert ours == pytest.approx(said, rel=2e-3)
    assert ours <= said * (1 + 1e-8)  # PLD rounds up; this is exact but for its last digits
    # Sensitivity of one clip, as central privacy has it, would claim less than half.
    assert ours > 1.9 * epsilon(rounds / noise**2, 1e-5)


@given(st.floats(1e-4, 1e4), st.floats(1e-12, 0.5))
def test_epsilon_is_the_smallest_that_keeps_to_delta(mu_squared: float, target: float) -> None:
    found = epsilon(mu_squared, target)
    assert delta(found, mu_squared) <= target
    if found > 1e-6:
        assert delta(found * (1 - 1e-6) - 1e-8, mu_squared) > target * (1 - 1e-6)


@given(st.floats(1e-3, 1e5), st.floats(0.0, 1e4))
def test_delta_is_a_probability_and_falls_with_epsilon(mu_squared: float, at: float) -> None:
    found = [delta(at * factor, mu_squared) for factor in (1.0, 1.5, 2.0)]
    assert all(0.0 <= one <= 1.0 for one in found)
    assert found == sorted(found, reverse=True)


def test_nothing_released_costs_nothing_and_no_noise_costs_everything() -> None:
    assert epsilon(0.0, 1e-5) == 0.0
    assert math.isinf(epsilon(1e9, 1e-5))
