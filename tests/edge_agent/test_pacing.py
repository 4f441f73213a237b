"""When devices begin: spread evenly over the window, never after the round has closed, the same each time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from edge_agent.decide.bandit.draw import uniforms
from edge_agent.learn.pacing import PAUSE_MS, WINDOW_MS_MIN, pause_ms, turn_ms

NOW = 1_800_000_000_000
SHARE = st.floats(0.0, 1.0, exclude_max=True)


def test_a_fleets_turns_are_uniform_over_the_window() -> None:
    turns = [
        turn_ms(float(uniforms(n.to_bytes(32), "round\x00r\x00turn", 1)[0]), NOW, NOW, 3_600_000, 0) - NOW
        for n in range(4_000)
    ]
    assert kstest(np.array(turns) / 3_600_000, "uniform").pvalue > 0.01
    busiest = np.bincount(np.array(turns) // 60_000, minlength=60).max()
    assert busiest < 2 * 4_000 / 60


def test_another_run_gives_a_device_another_turn() -> None:
    key = b"k" * 32
    assert uniforms(key, "round\x00a\x00turn", 1)[0] != uniforms(key, "round\x00b\x00turn", 1)[0]


@given(
    SHARE,
    st.integers(0, 2**42),
    st.integers(0, 2**42),
    st.integers(0, 10**9),
    st.one_of(st.just(0), st.integers(1, 2**42)),
)
def test_a_turn_is_within_the_window_and_never_after_the_end(
    share: float, seen: int, opens: int, window: int, closes: int
) -> None:
    turn = turn_ms(share, seen, opens, window, closes)
    assert seen <= turn <= seen + window
    if closes and seen < closes:
        assert turn < closes
    if turn > seen:
        assert turn < opens + window
    if window < WINDOW_MS_MIN:
        assert turn == seen


@given(SHARE, st.integers(0, 10**6))
def test_who_comes_back_late_from_one_outage_is_spread_over_what_is_left(share: float, late: int) -> None:
    turn = turn_ms(share, NOW + late, NOW, 10**6, 0)
    left = 10**6 - late
    assert turn == NOW + late + (int(share * left) if left >= WINDOW_MS_MIN else 0)


@given(SHARE, st.integers(1, 10**9))
def test_a_clock_behind_the_coordinators_keeps_nobody_out(share: float, behind: int) -> None:
    assert turn_ms(share, NOW - behind, NOW, 60_000, 0) - (NOW - behind) <= 60_000


@given(SHARE, SHARE, st.integers(0, 5))
def test_pauses_after_a_cut_double_and_are_spread_around_their_mean(one: float, other: float, times: int) -> None:
    mean = PAUSE_MS * 2**times
    assert mean // 2 <= pause_ms(one, times) < 3 * mean // 2 + 1
    assert (pause_ms(one, times) <= pause_ms(other, times)) or one >= other
    assert abs(pause_ms(one, times + 1) - 2 * pause_ms(one, times)) <= 2
