"""Training side by side comes out as training one by one, on the bundles' own graphs."""

from pathlib import Path

import numpy as np
import pytest

from edge_agent.learn import abreast
from edge_agent.learn.abreast import Pupil
from edge_agent.learn.trainer import Rows, Schedule, Trained, train
from models.bundle import Bundle, open_bundle
from models.session import TrainStep
from tests.coordinator.fleet import BUNDLES, CONTEXT

AFFINITY = next(BUNDLES.glob("affinity-1*"))
RECENT = Path(__file__).parents[3] / "demo" / "pages" / "affinity-recent-1.0.0.edgeward"
SCHEDULE = Schedule(epochs=3, lr=0.5, batch=16, negatives=2)


def _pupils(bundle: Bundle, count: int, seed: int = 0) -> list[Pupil]:
    """Devices with one to three people and with one to forty examples each."""
    dice, weights = np.random.default_rng(seed), bundle.weights()
    own = {p.name: weights[p.name] for p in bundle.spec.of_share("personal")}
    items, pupils = len(bundle.catalogue()), []
    length = next((given.shape[1] for given in bundle.spec.inputs if given.from_ == "features"), 0)
    for number in range(count):
        rows = {}
        for subject in range(int(dice.integers(1, 4))):
            n = int(dice.integers(1, 41))
            features = {"recent": dice.integers(0, items + 1, (n, length)).astype(np.float32)} if length else {}
            rows[f"p{subject}"] = Rows(dice.integers(0, items, n), features, (dice.random(n) < 0.6).astype(np.float32))
        pupils.append(Pupil(dict.fromkeys(rows, own), rows, np.random.default_rng([seed, number])))
    return pupils


def _both(path: Path, count: int) -> tuple[list[Trained], list[Trained]]:
    bundle = open_bundle(path)
    step, weights, items = TrainStep(bundle.read("train_step.onnx")), bundle.weights(), len(bundle.catalogue())
    form = abreast.fitting(bundle.spec, step, items)
    assert form is not None
    shared = {p.name: weights[p.name] for p in bundle.spec.of_share("shared")}
    one_by_one = [
        train(step, bundle.spec, shared, one.personal, one.rows, items, SCHEDULE, one.dice)
        for one in _pupils(bundle, count)
    ]
    return one_by_one, abreast.train_all(form, shared, _pupils(bundle, count), items, SCHEDULE)


@pytest.mark.parametrize("path", [AFFINITY, RECENT], ids=["affinity", "affinity-recent"])
def test_many_devices_at_once_learn_what_each_learns_alone(path: Path) -> None:
    for alone, together in zip(*_both(path, 12), strict=True):
        assert together.examples == alone.examples
        assert together.loss_before == pytest.approx(alone.loss_before, abs=1e-5)
        assert together.loss_after == pytest.approx(alone.loss_after, abs=1e-5)
        for name, value in alone.shared.items():
            np.testing.assert_allclose(together.shared[name], value, atol=2e-5)
        for subject, own in alone.personal.items():
            for name, value in own.items():
                np.testing.assert_allclose(together.personal[subject][name], value, atol=2e-5)


def test_what_a_device_learns_does_not_depend_on_who_stands_beside_it() -> None:
    bundle = open_bundle(AFFINITY)
    step, weights, items = TrainStep(bundle.read("train_step.onnx")), bundle.weights(), len(bundle.catalogue())
    form = abreast.fitting(bundle.spec, step, items)
    assert form is not None
    shared = {p.name: weights[p.name] for p in bundle.spec.of_share("shared")}
    together = abreast.train_all(form, shared, _pupils(bundle, 9), items, SCHEDULE)
    for n, one in enumerate(_pupils(bundle, 9)):
        (alone,) = abreast.train_all(form, shared, [one], items, SCHEDULE)
        assert all(np.array_equal(alone.shared[name], together[n].shared[name]) for name in shared)


def test_a_model_of_another_form_is_not_taken_for_one_of_these() -> None:
    bundle = open_bundle(CONTEXT)
    step = TrainStep(bundle.read("train_step.onnx"))
    assert abreast.fitting(bundle.spec, step, 0) is None


def test_a_graph_that_goes_elsewhere_is_found_out_whatever_its_names_are() -> None:
    bundle = open_bundle(AFFINITY)
    step = TrainStep(bundle.read("train_step.onnx"))

    def other(weights, inputs, label, lr):  # type: ignore[no-untyped-def]
        after, loss = step(weights, inputs, label, lr)
        return {name: value + 0.01 * np.sign(value) for name, value in after.items()}, loss

    assert abreast.fitting(bundle.spec, other, len(bundle.catalogue())) is None
