"""A bundle that brings a bandit's beginning: it is checked when it is opened, and devices begin with it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_agent.decide.bandit.learner import learner_of
from edge_agent.infer.bundle import load_model
from firmware_configs.errors import EdgeError
from firmware_configs.profile import LinUcb, SquareCb, Thompson
from models import arrays, warm_start
from models.bundle import open_bundle, write_bundle
from models.errors import SpecInvalid
from tests.models.sample import zoo_path

F32 = NDArray[np.float32]
K = 4


def _with(folder: Path, name: str, held: dict[str, F32]) -> Path:
    """The zoo's bundle, with a bandit.npz."""
    bundle = open_bundle(zoo_path(name))
    files = {one: bundle.read(one) for one in bundle.files}
    return write_bundle(folder, bundle.spec, {**files, "bandit.npz": arrays.pack(held)})


def _rewards() -> dict[str, F32]:
    """What forty rewards of any item leave: light is worth nothing here."""
    dice = np.random.default_rng(0)
    rows = np.c_[dice.normal(size=(40, K)) / K**0.5, dice.random(40), np.ones(40)]
    target = (rows[:, 0] > 0).astype(float)
    return {
        "mean": np.array([21.0, 30.0, 400.0, 800.0], np.float32),
        "deviation": np.array([1.0, 5.0, 300.0, 200.0], np.float32),
        "moments": (rows.T @ rows).astype(np.float32)[None],
        "targets": (rows.T @ target).astype(np.float32)[None],
        "weight": np.array([40.0], np.float32),
    }


def test_a_device_begins_with_what_the_bundle_brings(tmp_path: Path) -> None:
    held = _rewards()
    model = load_model(_with(tmp_path, "context", held))
    assert model.warm_start is not None
    begun = learner_of(SquareCb(), K, prior=model.warm_start)
    fresh = learner_of(SquareCb(), K)
    own = np.full(1, 0.5, np.float32)
    warm = np.array([23.0, 30.0, 400.0, 800.0], np.float32)
    assert fresh.beliefs(("on",), warm, own, own).mean[0] == pytest.approx(0.5)
    learned, unsure = begun.beliefs(("on",), warm, own, own), fresh.beliefs(("on",), warm, own, own)
    assert learned.mean[0] > 0.7
    assert learned.deviation[0] < unsure.deviation[0] / 2


def test_counts_of_the_catalogue_count_before_any_reward(tmp_path: Path) -> None:
    bundle = open_bundle(zoo_path("affinity"))
    count = len(bundle.catalogue())
    won, missing = np.zeros(count, np.float32), np.zeros(count, np.float32)
    won[3], missing[3] = 90.0, 10.0
    model = load_model(_with(tmp_path, "affinity", {"won": won, "missing": missing}))
    learner = learner_of(Thompson(prior_strength=1.0), prior=model.warm_start)
    own = np.full(2, 0.2, np.float32)
    found = learner.beliefs((model.catalogue[3], model.catalogue[4]), None, own, own)
    assert found.mean == pytest.approx([90.2 / 101.0, 0.2])
    learner.learn(model.catalogue[3], 1.0, None, 0.2, 1)
    assert learner.beliefs((model.catalogue[3],), None, own[:1], own[:1]).mean[0] == pytest.approx(91.2 / 102.0)


def test_a_bundle_without_one_begins_at_nothing() -> None:
    assert open_bundle(zoo_path("context")).warm_start() is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": np.zeros(1, np.float32)}, "not known"),
        ({"mean": None}, "need"),
        ({"mean": np.zeros(3, np.float32)}, "shape"),
        ({"deviation": np.array([1, 1, -1, 1], np.float32)}, "negative"),
        ({"weight": np.array([np.nan], np.float32)}, "finite"),
        ({"weight": np.float32(3.0)}, "shape"),
        ({"moments": -np.eye(K + 2, dtype=np.float32)[None]}, "outer products"),
        ({"moments": np.triu(np.ones((1, K + 2, K + 2), np.float32))}, "symmetric"),
        ({"items": np.zeros(3, np.float32)}, "shape"),
        ({"won": np.zeros(2, np.float32), "missing": np.zeros(2, np.float32)}, "shape"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_bundle_is_opened(
    tmp_path: Path, change: dict[str, F32 | None], said: str
) -> None:
    held = {name: array for name, array in {**_rewards(), **change}.items() if array is not None}
    path = _with(tmp_path, "context", {name: np.asarray(array) for name, array in held.items()})
    with pytest.raises(SpecInvalid, match=said):
        open_bundle(path)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 3))
def test_any_damage_is_read_or_refused_by_name(at: int, new: bytes, cut: int) -> None:
    whole = arrays.pack(_rewards())
    at %= len(whole)
    raw = whole[:at] + new + whole[at + len(new) :] if cut else whole[:at]
    try:
        found = warm_start.unpack(raw, open_bundle(zoo_path("context")).spec, ())
        assert found.statistics("x") is None or np.isfinite(found.statistics("x").moments).all()  # type: ignore[union-attr]
    except EdgeError as error:
        assert error.hint


@pytest.mark.parametrize("policy", [SquareCb(shared=True), LinUcb(shared=True)])
def test_items_with_features_teach_each_other(policy: SquareCb | LinUcb) -> None:
    dice = np.random.default_rng(3)
    catalogue = tuple(f"i{n}" for n in range(40))
    items = dice.normal(size=(40, 2))
    prior = warm_start.WarmStart({"items": items}, catalogue)
    stored: dict[str, bytes] = {}
    learner = learner_of(policy, 2, stored.get, prior)
    own = np.zeros(40, np.float32)

    def worth(context: F32) -> NDArray[np.float64]:
        return 1.0 / (1.0 + np.exp(-2.0 * items @ context))

    for n in range(600):
        context = dice.normal(size=2).astype(np.float32)
        at = int(dice.integers(20))  # the others are never tried
        for key in learner.learn(catalogue[at], float(dice.random() < worth(context)[at]), context, 0.0, n):
            stored[key] = learner.pack(key)
    assert set(stored) == {"\x00head", "\x00item\x00"}
    context = np.array([1.0, -0.5], np.float32)
    found = learner.beliefs(catalogue, context, own, own)
    assert np.corrcoef(found.mean[20:], worth(context)[20:])[0, 1] > 0.8
    assert learner.vector(found).sum() == pytest.approx(1.0, abs=1e-9)
    again = learner_of(policy, 2, stored.get, prior).beliefs(catalogue, context, own, own)
    assert again.mean.tobytes() == found.mean.tobytes()
    # Other features of the items: what was learned on the old ones is about nothing here.
    other = learner_of(policy, 2, stored.get, warm_start.WarmStart({"items": -items}, catalogue))
    assert other.beliefs(catalogue, context, own, own).mean.tolist() == [0.0] * 40


def test_without_item_features_a_shared_regression_is_one_an_item() -> None:
    learner = learner_of(SquareCb(shared=True), 2)
    assert list(learner.learn("a", 1.0, np.ones(2, np.float32), 0.0, 1)) == ["\x00head", "\x00item\x00a"]
