"""Averaging: worked by hand, and what a reply must be to count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from coordinator.aggregate import EXAMPLES_MAX, Report, average, bounded, checked, weighted
from coordinator.errors import AggregationFailed
from models.sparse import pack
from models.spec import Parameter

SHARED = (
    Parameter(name="weight", shape=(2,), share="shared"),
    Parameter(name="bias", shape=(1,), share="shared"),
)
FACTS: dict[str, object] = {
    "names": ["weight", "bias"],
    "scales": [0.5, 0.25],
    "examples": 8,
    "loss_before": 1.0,
    "loss_after": 0.5,
}
DELTA = {"delta": np.array([10, -20, 4], np.int8)}


def _report(weight: list[int], bias: int, examples: int, scale: float = 0.5) -> Report:
    return Report(
        delta={"weight": np.array(weight, np.int8), "bias": np.array([bias], np.int8)},
        scales={"weight": scale, "bias": scale},
        examples=examples,
        loss_before=float(examples),
        loss_after=0.0,
    )


def test_the_average_is_the_mean_weighted_by_examples_as_worked_by_hand() -> None:
    shared = {"weight": np.array([1.0, 2.0], np.float32), "bias": np.array([0.0], np.float32)}
    # weight: 1 + (0.5·10·1 + 0.5·2·3) / 4 = 1 + (5 + 3) / 4 = 3;  2 + (0.5·-4·1 + 0.5·4·3) / 4 = 2 + 1 = 3
    # bias: (0.5·8·1 + 0) / 4 = 1
    new = average(shared, [_report([10, -4], 8, 1), _report([2, 4], 0, 3)])
    assert new["weight"].tolist() == [3.0, 3.0]
    assert new["bias"].tolist() == [1.0]
    assert new["weight"].dtype == np.float32


def test_losses_are_weighted_like_the_parameters() -> None:
    before, after = weighted([_report([0, 0], 0, 1), _report([0, 0], 0, 3)])
    assert (before, after) == ((1 * 1 + 3 * 3) / 4, 0.0)


def test_no_report_gives_no_average() -> None:
    with pytest.raises(AggregationFailed):
        average({"weight": np.zeros(2, np.float32)}, [])


def test_a_good_reply_is_taken_apart_again() -> None:
    report = checked(DELTA, FACTS, SHARED)
    assert report.delta["weight"].tolist() == [10, -20]
    assert report.delta["bias"].tolist() == [4]
    assert report.scales == {"weight": 0.5, "bias": 0.25}


@pytest.mark.parametrize(
    ("arrays_", "facts"),
    [
        ({}, {}),
        ({"delta": DELTA["delta"], "personal": DELTA["delta"]}, {}),
        ({"delta": np.array([1, 2], np.int8)}, {}),
        ({"delta": np.array([1.0, 2.0, 3.0], np.float32)}, {}),
        ({"delta": np.zeros((3, 1), np.int8)}, {}),
        (DELTA, {"names": ["bias", "weight"]}),
        (DELTA, {"scales": [0.5]}),
        (DELTA, {"scales": [0.5, float("nan")]}),
        (DELTA, {"scales": [0.5, -1.0]}),
        (DELTA, {"scales": "much"}),
        (DELTA, {"examples": 0}),
        (DELTA, {"examples": True}),
        (DELTA, {"examples": EXAMPLES_MAX + 1}),
        (DELTA, {"examples": 3.5}),
    ],
)
def test_a_reply_that_is_not_what_it_must_be_counts_as_none(
    arrays_: dict[str, np.ndarray], facts: dict[str, object]
) -> None:
    with pytest.raises(AggregationFailed):
        checked(arrays_, {**FACTS, **facts}, SHARED)


def test_a_loss_that_is_no_number_does_not_spoil_the_round() -> None:
    assert checked(DELTA, {**FACTS, "loss_before": float("inf"), "loss_after": "low"}, SHARED).loss_before == 0.0


def _norm(report: Report) -> float:
    parts = [report.delta[name].astype(np.float64) * report.scales[name] for name in report.delta]
    return float(np.sqrt(sum((part**2).sum() for part in parts)))


@given(
    arrays.arrays(np.int8, 3, elements=st.integers(-127, 127)),
    st.floats(0.0, 1e12),
    st.floats(1e-3, 1e3),
)
def test_no_report_can_pull_farther_than_the_clip_norm(delta: np.ndarray, scale: float, clip: float) -> None:
    report = checked({"delta": delta}, {**FACTS, "scales": [scale, scale]}, SHARED)
    assert _norm(bounded(report, clip)) <= clip * (1 + 1e-9)


def test_a_report_within_the_clip_norm_is_left_alone() -> None:
    report = _report([3, 4], 0, 1, scale=1.0)
    assert bounded(report, 5.0).scales == report.scales


def test_an_average_that_is_not_finite_is_not_published() -> None:
    with pytest.raises(AggregationFailed):
        average({"weight": np.zeros(2, np.float32), "bias": np.zeros(1, np.float32)}, [_report([127, 127], 1, 1, 1e38)])


def test_a_sparse_reply_is_the_whole_vector_with_zeros_between() -> None:
    facts = {**FACTS, "positions": pack(np.array([0, 2]))}
    report = checked({"delta": np.array([7, -3], np.int8)}, facts, SHARED)
    assert report.delta["weight"].tolist() == [7, 0]
    assert report.delta["bias"].tolist() == [-3]


@pytest.mark.parametrize("positions", [pack(np.array([0])), pack(np.array([0, 3])), b"\xff", b"", "text", 7])
def test_a_sparse_reply_whose_positions_do_not_fit_counts_as_none(positions: object) -> None:
    with pytest.raises(AggregationFailed, match="position"):
        checked({"delta": np.array([7, -3], np.int8)}, {**FACTS, "positions": positions}, SHARED)
