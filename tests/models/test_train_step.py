"""The committed train steps against PyTorch's autograd (stored) and against finite differences (computed)."""

import math

import numpy as np
import pytest

from models import arrays
from models.architecture import Architecture, Tensor
from models.build import GRAPHS, zoo_module
from models.optimiser import owner
from models.session import Predictor, TrainStep
from models.zoo import ZOO
from tests.models.autograd import FOLDER, LR, cases_of, example


def architecture_of(name: str) -> Architecture:
    return zoo_module(name).ARCHITECTURE


def step_of(name: str) -> TrainStep:
    return TrainStep((GRAPHS / name / "train_step.onnx").read_bytes())


def split(
    architecture: Architecture, feeds: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    weights = {tensor.name: feeds[tensor.name] for tensor in architecture.parameters}
    weights |= {name: value for name, value in feeds.items() if owner(name) != name}
    return weights, {rows.name: feeds[rows.name] for rows in architecture.inputs}, feeds["label"]


loss_of = {
    "bce": lambda logit, label: float(np.mean(np.logaddexp(0.0, logit) - label * logit)),
    "distance": lambda score, label: float(-np.mean(label * score)),
}


def slope_of(
    architecture: Architecture, tensor: Tensor, weights: dict[str, np.ndarray], after: dict[str, np.ndarray]
) -> np.ndarray:
    """The gradient that a first step with learning rate 1 tells, whatever the optimiser."""
    if architecture.optimiser == "adam":
        return after[f"{tensor.name}.mean"] / 0.1
    return (weights[tensor.name] - after[tensor.name]) / tensor.step


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in ZOO for case in cases_of(name)])
def test_a_step_equals_autograd(name: str, case: str) -> None:
    architecture = architecture_of(name)
    stored = arrays.unpack((FOLDER / f"{name}.npz").read_bytes(), name)
    feeds = {k.removeprefix(f"{case}/feed/"): v for k, v in stored.items() if k.startswith(f"{case}/feed/")}
    want = {k.removeprefix(f"{case}/want/"): v for k, v in stored.items() if k.startswith(f"{case}/want/")}
    weights, inputs, label = split(architecture, feeds)
    after, loss = step_of(name)(weights, inputs, label, LR)
    score = Predictor((GRAPHS / name / "predict.onnx").read_bytes())(parameters_of(architecture, weights), inputs)
    assert abs(loss - float(want.pop("loss"))) <= 1e-5
    assert np.max(np.abs(score - want.pop("score"))) <= 1e-5
    assert set(architecture_parameters(architecture)) <= {key.removesuffix(".next") for key in want}
    for key, value in want.items():
        assert np.max(np.abs(after[key.removesuffix(".next")] - value)) <= 1e-5, key


def architecture_parameters(architecture: Architecture) -> list[str]:
    return [tensor.name for tensor in architecture.parameters]


def parameters_of(architecture: Architecture, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: weights[name] for name in architecture_parameters(architecture)}


@pytest.mark.parametrize("name", ["sequence-attention", "sequence-gru"])
def test_adam_remembers_the_square_of_the_slope_and_counts_its_steps(name: str) -> None:
    weights, inputs, label = split(architecture_of(name), example(architecture_of(name), axis=9, batch=5, seed=2))
    step = step_of(name)
    after, _ = step(weights, inputs, label, LR)
    for one in step.names:
        slope = (after[f"{one}.mean"] - 0.9 * weights[f"{one}.mean"]) / 0.1
        want = 0.999 * weights[f"{one}.square"] + 0.001 * slope**2
        np.testing.assert_allclose(after[f"{one}.square"], want, atol=1e-6)
        assert after[f"{one}.steps"] == weights[f"{one}.steps"] + 1.0


@pytest.mark.parametrize("name", ["sequence-attention", "sequence-gru"])
def test_a_fresh_optimiser_leaves_what_no_row_touches_and_divides_by_no_zero(name: str) -> None:
    architecture = architecture_of(name)
    weights, inputs, label = split(architecture, example(architecture, axis=9, batch=5, seed=2))
    fresh = parameters_of(architecture, weights) | {"item_bias": np.zeros(9, np.float32)}
    after, _ = step_of(name)(fresh, inputs, label, LR)
    assert all(np.isfinite(value).all() for value in after.values())
    untouched = np.setdiff1d(np.arange(9), inputs["item"])
    assert untouched.size
    assert not after["item_bias"][untouched].any()
    touched = after["item_bias"][np.unique(inputs["item"])]
    np.testing.assert_allclose(np.abs(touched), LR, rtol=1e-3)  # Adam's first step is the learning rate


def test_momentum_goes_on_where_plain_descent_stops() -> None:
    architecture = architecture_of("moment")
    weights, inputs, label = split(architecture, example(architecture, axis=1, batch=6, seed=3))
    step = step_of("moment")
    first, _ = step(parameters_of(architecture, weights), inputs, label, 0.1)
    again, _ = step(first, inputs, label, 0.1)
    without, _ = step(parameters_of(architecture, first), inputs, label, 0.1)
    np.testing.assert_allclose(
        again["out_bias"] - without["out_bias"], 0.9 * (first["out_bias"] - weights["out_bias"]), atol=1e-6
    )


@pytest.mark.parametrize("name", ZOO)
def test_a_step_follows_the_slope_that_finite_differences_find(name: str) -> None:
    architecture = architecture_of(name)
    feeds = example(architecture, axis=6, batch=9, seed=4)
    weights, inputs, label = split(architecture, feeds)
    weights = parameters_of(architecture, weights)
    after, _ = step_of(name)(weights, inputs, label, 1.0)
    exact = {key: value.astype(np.float64) for key, value in weights.items()}
    for tensor in architecture.parameters:
        if tensor.step == 0:
            continue
        slopes = slope_of(architecture, tensor, weights, after)
        for index in list(np.ndindex(slopes.shape))[:20]:
            sides = []
            for nudge in (1e-5, -1e-5):
                changed = exact[tensor.name].copy()
                changed[index] += nudge
                sides.append(
                    loss_of[architecture.loss](architecture.forward({**exact, tensor.name: changed}, inputs), label)
                )
            slope = (sides[0] - sides[1]) / 2e-5 + tensor.decay * exact[tensor.name][index]
            assert slopes[index] == pytest.approx(slope, abs=2e-5), (tensor.name, index)


@pytest.mark.parametrize("name", ZOO)
def test_predictions_equal_the_definition_in_numpy(name: str) -> None:
    architecture = architecture_of(name)
    weights, inputs, _ = split(architecture, example(architecture, axis=9, batch=17, seed=5))
    weights = parameters_of(architecture, weights)
    logit = architecture.forward(weights, inputs)
    want = 1.0 / (1.0 + np.exp(-logit)) if architecture.task == "probability" else logit
    got = Predictor((GRAPHS / name / "predict.onnx").read_bytes())(weights, inputs)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("name", ["affinity", "propensity", "sequence-attention", "sequence-gru"])
@pytest.mark.parametrize("items", [1, 2, 34, 5_000])
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_one_graph_serves_any_catalogue_and_any_batch(name: str, items: int, batch: int) -> None:
    architecture = architecture_of(name)
    weights, inputs, label = split(architecture, example(architecture, items, batch, seed=6))
    after, loss = step_of(name)(weights, inputs, label, 0.1)
    assert math.isfinite(loss)
    assert {key: value.shape for key, value in after.items()} == {k: v.shape for k, v in weights.items()}


@pytest.mark.parametrize("name", ["propensity", "sequence-attention", "sequence-gru"])
def test_one_row_of_features_serves_many_candidates(name: str) -> None:
    architecture = architecture_of(name)
    weights, inputs, _ = split(architecture, example(architecture, axis=40, batch=33, seed=6))
    weights, features = parameters_of(architecture, weights), next(key for key in inputs if key != "item")
    predict = Predictor((GRAPHS / name / "predict.onnx").read_bytes())
    once = {**inputs, features: inputs[features][:1]}
    repeated = {**inputs, features: np.repeat(inputs[features][:1], 33, axis=0)}
    np.testing.assert_allclose(predict(weights, once), predict(weights, repeated), atol=1e-5)


def test_an_item_that_stands_in_a_batch_twice_is_moved_by_both() -> None:
    architecture = architecture_of("affinity")
    weights, _, _ = split(architecture, example(architecture, 5, 2, seed=7))
    step = step_of("affinity")
    twice, _ = step(weights, {"item": np.array([3, 3])}, np.ones(2, np.float32), 1.0)
    once, _ = step(weights, {"item": np.array([3])}, np.ones(1, np.float32), 1.0)
    np.testing.assert_allclose(twice["item_bias"], once["item_bias"], atol=1e-6)
    assert twice["item_bias"][3] != weights["item_bias"][3]
    np.testing.assert_array_equal(np.delete(twice["item_bias"], 3), np.delete(weights["item_bias"], 3))


def test_extreme_logits_give_finite_steps() -> None:
    weights = {
        "item_embedding": np.full((2, 16), 50.0, np.float32),
        "item_bias": np.array([300.0, -300.0], np.float32),
        "user_vector": np.full(16, 50.0, np.float32),
        "user_bias": np.zeros(1, np.float32),
    }
    after, loss = step_of("affinity")(weights, {"item": np.array([0, 1])}, np.array([0, 1], np.float32), 0.1)
    assert math.isfinite(loss)
    assert all(np.isfinite(value).all() for value in after.values())


def test_standardisation_is_never_trained() -> None:
    architecture = architecture_of("context")
    weights, inputs, label = split(architecture, example(architecture, 1, 8, seed=8))
    after, _ = step_of("context")(weights, inputs, label, 1.0)
    np.testing.assert_array_equal(after["mean"], weights["mean"])
    np.testing.assert_array_equal(after["scale"], weights["scale"])


def test_the_same_step_twice_is_the_same_to_the_bit() -> None:
    architecture = architecture_of("propensity")
    weights, inputs, label = split(architecture, example(architecture, 34, 256, seed=9))
    first, second = (step_of("propensity")(weights, inputs, label, 0.5)[0] for _ in range(2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
