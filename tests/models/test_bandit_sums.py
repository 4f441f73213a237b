"""Sums of bandits: they add up whoever saw what, a beginning of them is one that a device accepts, also after noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import arrays, bandit_sums, warm_start
from models.bandit_sums import Form, clipped, form_of, regressions, rewards, warm_start_of
from models.bundle import open_bundle
from models.errors import SpecInvalid
from models.ridge import Statistics, merge, rescaled
from tests.models.sample import zoo_path

F64 = NDArray[np.float64]
D = 6
CONTEXT = open_bundle(zoo_path("context"))
AFFINITY = open_bundle(zoo_path("affinity"))


def seen(seed: int, count: int) -> Statistics:
    dice = np.random.default_rng(seed)
    rows = dice.normal(size=(count, D))
    return Statistics(rows.T @ rows, rows.T @ dice.random(count), float(count))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 99), st.integers(1, 9)), min_size=1, max_size=8))
def test_vectors_of_devices_add_up_to_the_statistics_of_all_their_rewards(told: list[tuple[int, int, int]]) -> None:
    form = Form(kind="regressions", items=5, width=D)
    total = np.sum([regressions(form, [(row, seen(seed, count))]) for row, seed, count in told], axis=0)
    made = warm_start_of(form, total)
    for row in range(5):
        whole = merge([seen(seed, count) for at, seed, count in told if at == row], D)
        assert made["moments"][row] == pytest.approx(whole.moments, abs=1e-4)
        assert made["targets"][row] == pytest.approx(whole.targets, abs=1e-4)
        assert made["weight"][row] == whole.weight


def test_a_bundle_without_a_catalogue_has_one_sum_for_all_items_alike() -> None:
    form = form_of("regressions", CONTEXT.spec, 0)
    assert (form.items, form.width, form.size) == (1, D, 28)
    both = regressions(form, [(0, seen(1, 5)), (0, seen(2, 7))])
    assert warm_start_of(form, both)["weight"].tolist() == [12.0]
    with pytest.raises(SpecInvalid, match="no catalogue"):
        form_of("rewards", CONTEXT.spec, 0)
    with pytest.raises(SpecInvalid, match="at most"):
        form_of("regressions", CONTEXT.spec, 10**6)


def test_the_columns_of_a_bundle_are_named_in_order_without_sequences() -> None:
    assert warm_start.columns(CONTEXT.spec) == ["temperature", "humidity", "light", "co2"]
    assert warm_start.columns(AFFINITY.spec) == []


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.0, 100.0), st.sampled_from([0.0, 3.0, 50.0]))
def test_a_beginning_of_noised_sums_is_one_that_bundles_may_bring(seed: int, noise: float, most: float) -> None:
    dice = np.random.default_rng(seed)
    form = form_of("regressions", CONTEXT.spec, 0)
    total = regressions(form, [(0, seen(seed, 40))]) + noise * dice.normal(size=form.size)
    made = warm_start_of(form, total, most, noise)
    held = warm_start.unpack(arrays.pack(made), CONTEXT.spec, ())  # it refuses what no rewards give
    found = held.statistics("anything")
    assert found is not None
    assert 0.0 <= found.weight <= (most * (1 + 1e-6) or np.inf)
    counts = form_of("rewards", AFFINITY.spec, len(AFFINITY.catalogue()))
    won = rewards(counts, [(3, 9.0, 1.0)]) + noise * dice.normal(size=counts.size)
    raw = arrays.pack(warm_start_of(counts, won, most))
    named = warm_start.unpack(raw, AFFINITY.spec, AFFINITY.catalogue()).counts
    assert all(pair[0] >= 0.0 <= pair[1] and sum(pair) <= (most * (1 + 1e-5) or np.inf) for pair in named.values())


@given(st.integers(0, 99), st.floats(0.01, 100.0))
def test_a_clipped_vector_is_that_of_fewer_rewards(seed: int, norm: float) -> None:
    form = Form(kind="regressions", items=1, width=D)
    whole = regressions(form, [(0, seen(seed, 9))])
    cut = clipped(whole, norm)
    assert np.linalg.norm(cut) <= norm * (1 + 1e-9)
    share = warm_start_of(form, cut)["weight"][0] / 9.0
    assert cut == pytest.approx(whole * share, rel=1e-5, abs=1e-6)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 4), st.booleans())
def test_statistics_on_another_scale_are_those_of_rows_made_on_it(seed: int, count: int, flat: bool) -> None:
    dice = np.random.default_rng(seed)
    raw = dice.normal(3.0, 2.0, (20, count))
    target = dice.random(20)
    old, new = [(dice.normal(size=count), dice.random(count) + 0.5) for _ in range(2)]
    if flat and count:
        new[1][0] = 0.0

    def made(mean: F64, deviation: F64) -> Statistics:
        away = np.divide(raw - mean, deviation, out=np.zeros_like(raw), where=deviation > 0) / np.sqrt(max(count, 1))
        rows = np.c_[away, dice_scores, np.ones(20)]
        return Statistics(rows.T @ rows, rows.T @ target, 20.0)

    dice_scores = np.random.default_rng(seed + 1).random(20)
    found, expected = rescaled(made(*old), old, new), made(*new)
    assert found.moments == pytest.approx(expected.moments, abs=1e-8)
    assert found.targets == pytest.approx(expected.targets, abs=1e-8)
    assert found.weight == 20.0


@given(st.binary(max_size=400), st.sampled_from(["rewards", "regressions"]), st.floats(0.0, 10.0))
def test_any_sum_of_the_right_length_gives_a_beginning(raw: bytes, kind: bandit_sums.Kind, most: float) -> None:
    numbers = np.frombuffer(raw[: len(raw) // 4 * 4], "<f4").astype(np.float64)
    form = form_of("regressions", CONTEXT.spec, 0) if kind == "regressions" else Form(kind="rewards", items=3)
    total = np.resize(np.nan_to_num(np.clip(numbers, -1e12, 1e12)) if len(numbers) else np.zeros(1), form.size)
    made = warm_start_of(form, total, most)
    assert all(np.isfinite(array).all() for array in made.values())
    if kind == "regressions":
        warm_start.unpack(arrays.pack(made), CONTEXT.spec, ())


def test_where_there_is_little_but_noise_the_model_is_believed() -> None:
    form = Form(kind="regressions", items=1, width=D)
    dice = np.random.default_rng(5)
    rows = np.c_[dice.normal(size=(400, D - 2)) * [1.0, 1e-3, 1e-3, 1e-3], np.full(400, 0.5), np.ones(400)]
    own = Statistics(rows.T @ rows, rows.T @ (rows[:, 0] > 0), 400.0)
    noised = regressions(form, [(0, own)]) + 5.0 * dice.normal(size=form.size)

    def estimate(noise: float, row: F64) -> float:
        made = warm_start_of(form, noised, 0.0, noise)
        return float(np.linalg.solve(made["moments"][0] + 0.3 * np.eye(D), made["targets"][0]) @ row)

    little, much = np.array([0.0, 1.0, 1.0, 1.0, 0.5, 1.0]), np.array([1.0, 0.0, 0.0, 0.0, 0.5, 1.0])
    assert abs(estimate(0.0, little) - 0.5) > 2.0, "without a ridge of the noise's size anything may come out"
    assert abs(estimate(5.0, little) - 0.5) < 0.5
    assert estimate(5.0, much) > 0.7
