"""What holds for every strategy: the order of reports is nothing to it, and reports of no change change nothing."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.aggregate import average, rows
from coordinator.errors import AggregationFailed, StrategyRefused
from coordinator.strategies.combine import Occasion, combine, mean, shaped, take
from coordinator.strategies.names import NAMES, PRESETS, Name
from coordinator.strategies.settings import WITHIN, chosen, read_options
from tests.coordinator.strategies.fleet import reports, start

OCCASION = Occasion(lr=0.1, rounds=4, devices=30)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1_000), order=st.randoms(use_true_random=False))
def test_the_order_of_the_reports_makes_no_difference(name: Name, seed: int, order: object) -> None:
    strategy, sent = chosen(name), reports(11, seed)
    mixed = list(sent)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    one, first = combine(strategy, start(seed), sent, {}, OCCASION)
    other, second = combine(strategy, start(seed), mixed, {}, OCCASION)
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=1e-6)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_allclose(first[key], second[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_reports_of_no_change_leave_the_parameters_as_they_are(name: Name) -> None:
    nothing = [
        msgspec.structs.replace(one, delta={key: np.zeros_like(value) for key, value in one.delta.items()})
        for one in reports(11, 3)
    ]
    shared = start(3)
    after, state = combine(chosen(name), shared, nothing, {}, OCCASION)
    again, _ = combine(chosen(name), after, nothing, state, OCCASION)
    for key, value in shared.items():
        np.testing.assert_array_equal(after[key], value)
        np.testing.assert_array_equal(again[key], value)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_given_is_left_as_it_was(name: Name) -> None:
    shared, given_ = start(1), reports(11, 1)
    _, state = combine(chosen(name), shared, given_, {}, OCCASION)
    held = {key: value.copy() for key, value in state.items()}
    combine(chosen(name), shared, given_, state, OCCASION)
    assert all(np.array_equal(start(1)[key], shared[key]) for key in shared)
    assert all(np.array_equal(held[key], state[key]) for key in held)


@pytest.mark.parametrize("name", [name for name in NAMES if not PRESETS[name].single])
def test_a_mean_without_its_reports_is_enough_where_single_reports_are_not_looked_at(name: Name) -> None:
    """So these go with secret sums and private rounds."""
    shared, given_ = start(2), reports(9, 2, equal=True)
    one, state = combine(chosen(name), shared, given_, {}, OCCASION)
    update = shaped(shared, rows(shared, given_).mean(axis=0))
    other, same = take(chosen(name), shared, update, len(given_), {}, OCCASION)
    for key in one:
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=1e-6)
    assert state.keys() == same.keys()


def test_fedavg_is_the_weighted_mean() -> None:
    shared, given_ = start(4), reports(6, 4)
    after, _ = combine(chosen("fedavg"), shared, given_, {}, OCCASION)
    for key, value in average(shared, given_).items():
        np.testing.assert_allclose(after[key], value, rtol=0, atol=1e-6)


def test_a_larger_q_listens_more_to_the_device_with_the_largest_loss() -> None:
    shared, given_ = start(5), reports(6, 5, equal=True)
    given_[2] = msgspec.structs.replace(given_[2], loss_before=50.0)
    away = []
    for q in (0.0, 1.0, 3.0):
        after, _ = combine(chosen("qfedavg", {"q": q}), shared, given_, {}, OCCASION)
        moved = np.concatenate([(after[k] - shared[k]).reshape(-1) for k in shared])
        own = rows(shared, given_)[2]
        away.append(float(moved @ own / np.linalg.norm(moved) / np.linalg.norm(own)))
    assert away == sorted(away)
    assert away[2] > 0.99 > away[0]
    plain, _ = combine(chosen("qfedavg", {"q": 0.0}), shared, given_, {}, OCCASION)
    for key, value in shaped(shared, mean(shared, given_, [1.0] * 6)).items():
        np.testing.assert_allclose(plain[key], shared[key] + value, rtol=0, atol=1e-6)


def test_clusters_move_by_their_own_reports_and_the_largest_is_the_shared_one() -> None:
    shared = start(6)
    sent = [*reports(2, 6, cluster=0), *reports(5, 7, cluster=1), *reports(1, 8, cluster=9)]
    strategy = chosen("ifca", {"clusters": 3, "spread": 0.5})
    after, state = combine(strategy, shared, sent, {}, OCCASION)
    assert state["sizes"].tolist() == [2, 5, 0]
    for key, value in shared.items():
        np.testing.assert_array_equal(after[key], state[f"model/1/{key}"])
        assert not np.array_equal(state[f"model/0/{key}"], value)
    first = average(shared, sent[:2])
    assert all(np.array_equal(first[key], state[f"model/0/{key}"]) for key in first)
    with pytest.raises(AggregationFailed, match="no device took"):
        combine(strategy, shared, sent[-1:], {}, OCCASION)


def test_no_reports_and_overflow_are_refused() -> None:
    with pytest.raises(AggregationFailed, match="no reports"):
        combine(chosen("fedavg"), start(0), [], {}, OCCASION)
    huge = [msgspec.structs.replace(one, scales=dict.fromkeys(one.scales, 1e38)) for one in reports(3, 0)]
    with pytest.raises(AggregationFailed, match="not finite"):
        combine(chosen("fedavg"), start(0), huge, {}, OCCASION)


@pytest.mark.parametrize(
    ("asked", "options", "said"),
    [
        ("fedsgd", {}, "no strategy"),
        ("FedXgbBagging", {}, "appends trees"),
        ("DifferentialPrivacyServerSideFixedClipping", {}, "part of the round"),
        ("fedavg", {"momentum": 0.9}, "no option `momentum`"),
        ("fedavgm", {"momentum": 1.0}, "out of range"),
        ("fedadam", {"tau": float("nan")}, "out of range"),
        ("ifca", {"clusters": 2.5}, "out of range"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(asked: str, options: dict[str, float], said: str) -> None:
    with pytest.raises(StrategyRefused, match=said) as caught:
        chosen(asked, options)
    assert caught.value.hint


@given(st.text(max_size=20), st.dictionaries(st.sampled_from(sorted(WITHIN)) | st.text(max_size=5), st.floats()))
def test_whatever_is_asked_is_a_strategy_or_refused(asked: str, options: dict[str, float]) -> None:
    for name in (asked, "fedadam", "ifca"):
        try:
            strategy = chosen(name, options)
        except StrategyRefused:
            continue
        assert all(WITHIN[key][0] <= value <= WITHIN[key][1] for key, value in strategy.options.items())


@given(st.lists(st.text(max_size=12), max_size=4))
def test_options_are_pairs_or_refused(words: list[str]) -> None:
    try:
        found = read_options(tuple(words))
    except StrategyRefused:
        return
    assert len(found) == len(words)


def test_options_are_read_as_they_are_written_on_a_command_line() -> None:
    assert read_options(("server-lr=0.5", "tau=1e-8")) == {"server_lr": 0.5, "tau": 1e-8}
