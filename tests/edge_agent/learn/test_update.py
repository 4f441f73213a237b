"""What leaves the device in a round: bounded, in eight bits, with what was rounded away carried over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_agent.learn.update import bucketed, dequantise, make_update, quantise

FLOATS = st.floats(-1e4, 1e4, width=32)
TENSORS = arrays.arrays(np.float32, arrays.array_shapes(max_dims=2, max_side=8), elements=FLOATS)
NOTHING: dict[str, np.ndarray] = {}


@given(TENSORS)
def test_quantising_is_wrong_by_at_most_half_a_step_a_coordinate(value: np.ndarray) -> None:
    packed, step = quantise(value)
    assert packed.dtype == np.int8
    assert packed.shape == value.shape
    assert np.abs(dequantise(packed, step) - value).max() <= step / 2 * (1 + 1e-6)


@given(TENSORS)
def test_the_step_is_the_largest_value_over_127(value: np.ndarray) -> None:
    assert quantise(value)[1] == pytest.approx(float(np.abs(value).max()) / 127.0)


def test_nothing_learned_is_sent_as_zeros() -> None:
    packed, step = quantise(np.zeros((3, 2), np.float32))
    assert not packed.any()
    assert step == 0.0


def _norm(update: object) -> float:
    parts = [dequantise(update.delta[n], update.scale[n]) for n in update.delta]  # type: ignore[attr-defined]
    return float(np.sqrt(sum((part**2).sum() for part in parts)))


@given(TENSORS, TENSORS, st.floats(1e-2, 1e3))
def test_an_update_is_never_longer_than_the_clip_norm_and_half_a_step_a_coordinate(
    first: np.ndarray, second: np.ndarray, clip: float
) -> None:
    before = {"a": np.zeros_like(first), "b": np.zeros_like(second)}
    update, _ = make_update(before, {"a": first, "b": second}, NOTHING, clip, 0.0, np.random.default_rng(0))
    slack = np.sqrt(sum(update.delta[n].size * (update.scale[n] / 2) ** 2 for n in update.delta))
    assert _norm(update) <= clip + slack + 1e-6 * clip


@given(TENSORS)
def test_what_rounding_takes_away_is_what_is_carried_over(after: np.ndarray) -> None:
    before = {"w": np.zeros_like(after)}
    update, left = make_update(before, {"w": after}, NOTHING, 1e9, 0.0, np.random.default_rng(0))
    whole = dequantise(update.delta["w"], update.scale["w"]) + left["w"]
    assert np.allclose(whole, after, rtol=1e-5, atol=1e-5)


def test_over_many_rounds_error_feedback_loses_nothing() -> None:
    """The same small step, fifty times: its sum arrives, though each alone is rounded away beside a large one."""
    step = np.array([100.0, 0.11], np.float32)
    before, residual, arrived = {"w": np.zeros(2, np.float32)}, NOTHING, np.zeros(2)
    for _ in range(50):
        update, residual = make_update(before, {"w": step}, residual, 1e9, 0.0, np.random.default_rng(0))
        arrived += dequantise(update.delta["w"], update.scale["w"])
    assert arrived == pytest.approx(step * 50, abs=100.0 / 127)
    assert quantise(step)[0][1] == 0


def test_noise_has_the_declared_size() -> None:
    before = {"w": np.zeros(20_000, np.float32)}
    update, _ = make_update(before, before, NOTHING, 2.0, 1.5, np.random.default_rng(0))
    assert np.std(dequantise(update.delta["w"], update.scale["w"])) == pytest.approx(3.0, rel=0.02)


@given(st.integers(1, 2**30))
def test_a_count_leaves_only_as_a_power_of_two_at_most_as_large(count: int) -> None:
    told = bucketed(count)
    assert told <= count < 2 * told
    assert told & (told - 1) == 0


def test_one_event_more_does_not_show() -> None:
    assert bucketed(40) == bucketed(41)


@given(TENSORS, TENSORS, st.floats(0.01, 1.0))
def test_top_k_sends_the_largest_numbers_and_carries_the_rest_over(
    first: np.ndarray, second: np.ndarray, share: float
) -> None:
    before = {"a": np.zeros_like(first), "b": np.zeros_like(second)}
    after = {"a": first, "b": second}
    update, left = make_update(before, after, NOTHING, 1e9, 0.0, np.random.default_rng(0), share)
    whole = np.concatenate([first.reshape(-1), second.reshape(-1)]).astype(np.float64)
    sent = np.concatenate([dequantise(update.delta[n], update.scale[n]).reshape(-1) for n in before])
    rest = np.concatenate([left[n].reshape(-1) for n in before])
    assert update.positions is not None
    assert len(update.positions) == max(1, round(share * len(whole)))
    others = np.delete(np.arange(len(whole)), update.positions)
    assert not sent[others].any()
    assert len(others) == 0 or np.abs(whole[others]).max() <= np.abs(whole[update.positions]).min()
    assert np.allclose(sent + rest, whole, rtol=1e-5, atol=1e-4)


def test_with_top_k_everything_arrives_over_the_rounds() -> None:
    """One large and nine small numbers, one number a round: the small ones wait, and arrive."""
    step = np.array([9.0] + [1.0] * 9, np.float32)
    before, residual, arrived = {"w": np.zeros(10, np.float32)}, NOTHING, np.zeros(10)
    for _ in range(400):
        update, residual = make_update(before, {"w": step}, residual, 1e9, 0.0, np.random.default_rng(0), 0.1)
        arrived += dequantise(update.delta["w"], update.scale["w"])
    assert arrived / 400 == pytest.approx(step, rel=0.08)
