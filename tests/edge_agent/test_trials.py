"""Who is drawn for a canary, and the verdict on a new version: pure functions, as properties."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.trials import Side, Trial, broken, in_canary, next_stage
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


def test_chance_alone_seldom_sends_an_equal_version_back() -> None:
    dice = np.random.default_rng(3)
    returned = 0
    for _ in range(200):
        trial = Trial(version="2", base="1", stage="canary")
        for _ in range(150):
            for side in (trial.new, trial.old):
                side.rewards += 1
                side.reward += float(dice.random() < 0.3)
            if broken(trial, Swap()):
                returned += 1
                break
    assert returned <= 2  # 1 %, looking after every reward
