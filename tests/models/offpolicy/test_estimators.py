"""What IPS, SNIPS, DM and DR promise, on logs whose truth is known."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.offpolicy.estimators import Rounds, direct, doubly_robust, ips, on_policy, snips, weights
from tests.models.offpolicy.world import EVALUATED, LOGGED, RATES, SHARE, lived, true_value

WRONG = np.array([[0.9, 0.1, 0.7], [0.2, 0.9, 0.5]])


def test_values_worked_out_by_hand() -> None:
    rounds = Rounds(
        reward=np.array([1.0, 0.0, 1.0]), logged=np.array([0.5, 0.25, 0.5]), evaluated=np.array([0.25, 0.5, 0.5])
    )
    assert weights(rounds).tolist() == [0.5, 2.0, 1.0]
    assert ips(rounds).value == pytest.approx(1.5 / 3)
    assert snips(rounds).value == pytest.approx(1.5 / 3.5)
    assert ips(rounds, clip=1.0).value == pytest.approx(1.5 / 3)
    assert snips(rounds, clip=1.0).value == pytest.approx(1.5 / 2.5)
    assert on_policy(rounds).value == pytest.approx(2 / 3)


def _expectation(q: np.ndarray) -> tuple[float, float]:
    """E[IPS], E[DR] of one round, summed over every (context, action, reward) with its probability."""
    total = np.zeros(2)
    for context, share in enumerate(SHARE):
        for action in range(3):
            for reward in (0.0, 1.0):
                rate = RATES[context, action] if reward else 1.0 - RATES[context, action]
                chance = share * LOGGED[context, action] * rate
                weight = EVALUATED[context, action] / LOGGED[context, action]
                model = (EVALUATED[context] * q[context]).sum()
                total += chance * np.array([weight * reward, model + weight * (reward - q[context, action])])
    return float(total[0]), float(total[1])


@pytest.mark.parametrize("q", [RATES, WRONG], ids=["right model", "wrong model"])
def test_ips_and_dr_are_unbiased_whatever_the_reward_model(q: np.ndarray) -> None:
    assert _expectation(q) == pytest.approx((true_value(), true_value()))


def test_all_come_to_the_truth_as_the_log_grows() -> None:
    rounds = lived(200_000, seed=3)
    assert rounds.fitted is not None
    for terms in (ips(rounds), snips(rounds), direct(rounds.fitted), doubly_robust(rounds, rounds.fitted)):
        assert terms.value == pytest.approx(true_value(), abs=0.005)


def test_a_wrong_model_spoils_the_direct_method_and_not_dr() -> None:
    rounds = lived(200_000, seed=4, q=WRONG)
    assert rounds.fitted is not None
    assert abs(direct(rounds.fitted).value - true_value()) > 0.1
    assert doubly_robust(rounds, rounds.fitted).value == pytest.approx(true_value(), abs=0.01)


@given(st.integers(0, 1_000), st.floats(-3.0, 3.0))
def test_snips_moves_along_when_every_reward_does(seed: int, shift: float) -> None:
    rounds = lived(50, seed)
    moved = msgspec.structs.replace(rounds, reward=rounds.reward + shift)
    assert snips(moved).value == pytest.approx(snips(rounds).value + shift, abs=1e-9)


@given(st.integers(0, 1_000))
def test_dr_is_exact_when_model_and_rewards_know_no_chance(seed: int) -> None:
    rounds = lived(60, seed)
    assert rounds.fitted is not None
    sure = msgspec.structs.replace(rounds, reward=rounds.fitted.taken)
    assert doubly_robust(sure, rounds.fitted).value == pytest.approx(direct(rounds.fitted).value, abs=1e-12)


@given(st.integers(0, 1_000))
def test_the_logs_own_policy_is_worth_what_it_earned(seed: int) -> None:
    rounds = lived(40, seed)
    same = msgspec.structs.replace(rounds, evaluated=rounds.logged)
    assert ips(same).value == pytest.approx(on_policy(rounds).value)
    assert snips(same).value == pytest.approx(on_policy(rounds).value)


@given(st.integers(0, 1_000), st.floats(0.05, 10.0))
def test_clipping_only_ever_takes_from_ips_and_keeps_snips_within_the_rewards(seed: int, clip: float) -> None:
    rounds = lived(40, seed)
    assert ips(rounds, clip).value <= ips(rounds).value + 1e-12
    assert weights(rounds, clip).max() <= clip
    assert rounds.reward.min() - 1e-12 <= snips(rounds, clip).value <= rounds.reward.max() + 1e-12


def test_nothing_in_common_gives_no_number_instead_of_a_wrong_one() -> None:
    rounds = Rounds(reward=np.ones(3), logged=np.full(3, 0.5), evaluated=np.zeros(3))
    assert np.isnan(snips(rounds).value)
    assert ips(rounds).value == 0.0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"logged": np.array([0.0, 0.5])}, "propensities"),
        ({"logged": np.array([1.5, 0.5])}, "propensities"),
        ({"logged": np.array([np.nan, 0.5])}, "propensities"),
        ({"evaluated": np.array([-0.1, 0.5])}, "probabilities"),
        ({"evaluated": np.array([0.5])}, "one length"),
        ({"reward": np.zeros(0)}, "one round"),
    ],
)
def test_what_is_no_log_is_refused(change: dict[str, np.ndarray], word: str) -> None:
    good = {"reward": np.ones(2), "logged": np.full(2, 0.5), "evaluated": np.full(2, 0.5)}
    with pytest.raises(ValueError, match=word):
        Rounds(**{**good, **change})
