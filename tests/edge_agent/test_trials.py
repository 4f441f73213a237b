"""Who is drawn for a canary, and the verdict on a new version: pure functions, as properties."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.trials import Side, Trial, broken, in_canary, next_stage, unpack
from firmware_configs.profile import Swap


@given(st.floats(0.05, 0.95), st.text(max_size=8))
@settings(max_examples=20)
def test_the_draw_keeps_to_its_share_and_grows_with_it(share: float, version: str) -> None:
    drawn = [in_canary(b"k", "m", version, f"u{n}", share) for n in range(2_000)]
    assert abs(np.mean(drawn) - share) < 0.06
    wider = [in_canary(b"k", "m", version, f"u{n}", min(1.0, share + 0.05)) for n in range(2_000)]
    assert all(later or not earlier for earlier, later in zip(drawn, wider, strict=True))


def test_where_a_canary_draws_nobody_it_does_not_wait_for_ever() -> None:
    trial = Trial(version="2", base="1", stage="canary", old=Side(decisions=12))
    assert next_stage(trial, Swap(canary_share=0.5, canary_decisions=6)) == "full"
    assert next_stage(trial, Swap(canary_share=0.4, canary_decisions=6)) is None


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 60), st.integers(0, 60), st.floats(0.0, 1.0))
def test_a_version_that_is_as_good_as_the_old_one_is_never_sent_back(
    decisions: int, calls: int, rewards: int, old_rewards: int, mean: float
) -> None:
    trial = Trial(
        version="2",
        base="1",
        stage="canary",
        new=Side(decisions=decisions, calls=calls, seconds=calls * 0.01, rewards=rewards, reward=rewards * mean),
        old=Side(
            decisions=decisions, calls=calls, seconds=calls * 0.01, rewards=old_rewards, reward=old_rewards * mean
        ),
    )
    assert broken(trial, Swap()) == ""


@given(st.integers(0, 400), st.integers(0, 400))
def test_more_errors_never_make_it_better(decisions: int, errors: int) -> None:
    limits = Swap(error_max=0.1, decisions_min=20)
    side = Side(decisions=decisions, errors=errors)
    verdict = broken(Trial(version="2", base="1", stage="full", new=side), limits)
    assert bool(verdict) == (errors > 0.1 * max(20, decisions))


def reward(trial: Trial, new: float, old: float) -> None:
    for side, value in ((trial.new, new), (trial.old, old)):
        side.rewards += 1
        side.reward += value
        side.squares += value * value


def sent_back_after(dice: np.random.Generator, new: float, old: float, rewards: int) -> int:
    """Rewards of each side until the new version is sent back, looking after every one; 0: it is not."""
    trial = Trial(version="2", base="1", stage="canary")
    for count in range(1, rewards + 1):
        reward(trial, float(dice.random() < new), float(dice.random() < old))
        if broken(trial, Swap()):
            return count
    return 0


def test_chance_alone_never_sends_an_equal_version_back_however_often_one_looks() -> None:
    dice = np.random.default_rng(3)
    assert [sent_back_after(dice, 0.3, 0.3, 150) for _ in range(100)] == [0] * 100  # at most 0.1 % are allowed


def test_a_version_that_loses_just_what_is_allowed_is_not_sent_back_either() -> None:
    dice = np.random.default_rng(4)
    assert [sent_back_after(dice, 0.45, 0.5, 300) for _ in range(30)] == [0] * 30


def test_a_version_that_earns_much_less_is_sent_back_soon() -> None:
    dice = np.random.default_rng(5)
    waited = [sent_back_after(dice, 0.1, 0.6, 400) for _ in range(20)]
    assert all(waited)
    assert np.median(waited) < 120


def test_a_trial_that_was_stored_before_squares_were_counted_is_judged_as_if_they_were_large() -> None:
    trial = Trial(version="2", base="1", stage="canary")
    for _ in range(30):
        reward(trial, 0.5, 0.6)
    trial.new.squares = trial.old.squares = 0.0
    found = unpack(msgspec.msgpack.encode(trial))
    assert found is not None
    assert (found.new.squares, found.old.squares) == (found.new.reward, found.old.reward)
