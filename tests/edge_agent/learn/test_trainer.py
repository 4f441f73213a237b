"""Training on the device with the bundles' own graphs."""

import numpy as np
import pytest

from edge_agent.learn.examples import Example
from edge_agent.learn.trainer import Rows, Schedule, Trained, rows_of, train
from models.bundle import Bundle, open_bundle
from models.session import TrainStep
from tests.coordinator.fleet import BUNDLES, CONTEXT

PLAIN = Schedule(epochs=3, lr=0.2, batch=16, negatives=0)


def _room(n: int, seed: int) -> list[Example]:
    dice = np.random.default_rng(seed)
    lights = dice.choice([5.0, 450.0], size=n)
    return [Example(features={"features": [21.0, 27.0, float(x), 500.0]}, label=float(x > 100)) for x in lights]


def _start(bundle: Bundle, share: str) -> dict[str, np.ndarray]:
    weights = bundle.weights()
    return {p.name: weights[p.name] for p in bundle.spec.parameters if p.share == share}


def _train(rows: dict[str, Rows], schedule: Schedule = PLAIN, seed: int = 0) -> Trained:
    bundle = open_bundle(CONTEXT)
    step = TrainStep(bundle.read("train_step.onnx"))
    personal = {subject: _start(bundle, "personal") for subject in rows}
    return train(
        step,
        bundle.spec,
        _start(bundle, "shared"),
        personal,
        rows,
        0,
        schedule,
        np.random.default_rng(seed),
    )


def _rows(n: int, seed: int) -> Rows:
    rows = rows_of(open_bundle(CONTEXT).spec, _room(n, seed), {})
    assert rows is not None
    return rows


def test_training_lowers_the_loss_on_the_devices_own_examples() -> None:
    trained = _train({"household": _rows(200, 0)}, Schedule(epochs=8, lr=0.2, batch=16, negatives=0))
    assert trained.loss_after < trained.loss_before
    assert trained.examples == 200


def test_the_same_seed_trains_the_same_parameters() -> None:
    first, again, other = (_train({"household": _rows(50, 0)}, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first.shared[n], again.shared[n]) for n in first.shared)
    assert any(not np.array_equal(first.shared[n], other.shared[n]) for n in first.shared)


def test_each_subject_learns_its_own_part() -> None:
    upside_down = [Example(features=e.features, label=1.0 - e.label) for e in _room(60, 1)]
    rows = rows_of(open_bundle(CONTEXT).spec, upside_down, {})
    assert rows is not None
    trained = _train({"ann": _rows(60, 1), "ben": rows})
    assert not np.array_equal(trained.personal["ann"]["offset"], trained.personal["ben"]["offset"])
    assert set(trained.shared) & set(trained.personal["ann"]) == set()


def test_the_parameters_that_came_in_are_left_as_they_were() -> None:
    bundle = open_bundle(CONTEXT)
    before = {name: value.copy() for name, value in _start(bundle, "shared").items()}
    _train({"household": _rows(40, 0)})
    assert all(np.array_equal(before[n], v) for n, v in _start(bundle, "shared").items())


def _distance(trained: Trained) -> float:
    start = _start(open_bundle(CONTEXT), "shared")
    return float(np.sqrt(sum(((trained.shared[n] - start[n]) ** 2).sum() for n in start)))


def test_fedprox_stays_nearer_to_where_the_round_began() -> None:
    rows = {"household": _rows(100, 0)}
    free = _train(rows, Schedule(epochs=5, lr=0.2, batch=16, negatives=0))
    held = _train(rows, Schedule(epochs=5, lr=0.2, batch=16, negatives=0, prox_mu=2.0))
    assert 0.0 < _distance(held) < 0.8 * _distance(free)


def test_negatives_are_items_that_the_person_did_not_take() -> None:
    bundle = open_bundle(BUNDLES / "affinity-1.0.0.edgeward")
    catalogue = bundle.catalogue()
    index = {item: n for n, item in enumerate(catalogue)}
    rows = rows_of(bundle.spec, [Example(item=catalogue[n], label=1.0) for n in (0, 1, 2)], index)
    assert rows is not None
    seen: list[tuple[int, float]] = []

    def step(
        weights: dict[str, np.ndarray], inputs: dict[str, np.ndarray], label: np.ndarray, _lr: float
    ) -> tuple[dict[str, np.ndarray], float]:
        seen.extend(zip(inputs["item"].tolist(), label.tolist(), strict=True))
        return dict(weights), 0.0

    schedule = Schedule(epochs=2, lr=1.0, batch=4, negatives=3)
    personal = {"u": _start(bundle, "personal")}
    dice = np.random.default_rng(0)
    train(step, bundle.spec, _start(bundle, "shared"), personal, {"u": rows}, len(catalogue), schedule, dice)
    assert sorted(item for item, label in seen if label == 1.0) == [0, 0, 1, 1, 2, 2]
    assert len([item for item, label in seen if label == 0.0]) == 2 * 3 * 3
    assert {item for item, label in seen if label == 0.0} & {0, 1, 2} == set()


def test_examples_of_another_version_are_left_out() -> None:
    bundle = open_bundle(BUNDLES / "affinity-1.0.0.edgeward")
    assert rows_of(bundle.spec, [Example(item="gone", label=1.0)], {"kept": 0}) is None
    rows = rows_of(open_bundle(CONTEXT).spec, [*_room(3, 0), Example(features={"features": [1.0]}, label=1.0)], {})
    assert rows is not None
    assert len(rows.label) == 3


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_every_example_is_used_once_an_epoch_whatever_the_batch(batch: int) -> None:
    used: list[int] = []

    def step(
        weights: dict[str, np.ndarray], _inputs: dict[str, np.ndarray], label: np.ndarray, _lr: float
    ) -> tuple[dict[str, np.ndarray], float]:
        used.append(len(label))
        return dict(weights), 0.0

    bundle = open_bundle(CONTEXT)
    schedule = Schedule(epochs=1, lr=0.1, batch=batch, negatives=0)
    personal = {"u": _start(bundle, "personal")}
    dice = np.random.default_rng(0)
    train(step, bundle.spec, _start(bundle, "shared"), personal, {"u": _rows(20, 0)}, 0, schedule, dice)
    assert sum(used) == 20
    assert max(used) <= batch
