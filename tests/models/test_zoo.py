"""The zoo's models learn what there is to learn, and say what they reached."""

from pathlib import Path

import numpy as np
import pytest

from models import baselines, evaluate, ranking
from models.build import Options, build_bundle, zoo_module
from models.bundle import Bundle, open_bundle
from models.check import check_bundle
from models.errors import BuildUnavailable, DatasetInvalid
from models.session import Predictor, TrainStep
from models.zoo import SHIPPED, affinity, propensity
from tests.models.sample import taste_ratings, zoo_path


def built(name: str, out: Path, options: Options) -> tuple[Bundle, dict[str, float]]:
    made = build_bundle(name, options, out, f"edge-models build {name}")
    return open_bundle(made.path), {figure.name: figure.value for figure in made.figures}


@pytest.mark.parametrize("name", SHIPPED)
def test_building_again_gives_the_shipped_weights(name: str, tmp_path: Path) -> None:
    again, _ = built(name, tmp_path, Options())
    shipped = open_bundle(zoo_path(name))
    for parameter, value in shipped.weights().items():
        np.testing.assert_allclose(again.weights()[parameter], value, atol=2e-3, err_msg=parameter)
    assert again.read("predict.onnx") == shipped.read("predict.onnx")


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (built("context", tmp_path / f"{n}.edgeward", Options())[0] for n in (1, 2))
    assert first.sha256 == second.sha256
    other, _ = built("context", tmp_path / "3.edgeward", Options(seed=1))
    assert other.sha256 != first.sha256


def test_occupancy_beats_the_majority_and_keeps_up_with_logistic_regression(tmp_path: Path) -> None:
    _, figures = built("context", tmp_path, Options())
    assert figures["accuracy"] > 0.97 > figures["accuracy_majority"]
    assert figures["accuracy"] > figures["accuracy_logistic_regression"] - 0.005
    assert figures["auc"] > 0.98


def test_a_room_with_other_lamps_is_learned_by_the_personal_offset_alone() -> None:
    """Every reading is dimmer by half: the offset, trained on a few rows, wins part of it back."""
    bundle = open_bundle(zoo_path("context"))
    x, y = _dim_room()
    predict, step = Predictor(bundle.read("predict.onnx")), TrainStep(bundle.read("train_step.onnx"))
    weights = bundle.weights()
    before = evaluate.log_loss(predict(weights, {"features": x[1::2]}), y[1::2])
    for _ in range(200):
        after, _ = step(weights, {"features": x[::20]}, y[::20], 1.0)
        weights = {**weights, "offset": after["offset"]}
    assert evaluate.log_loss(predict(weights, {"features": x[1::2]}), y[1::2]) < 0.9 * before


def _dim_room() -> tuple[np.ndarray, np.ndarray]:
    from models.datasets import read_occupancy

    rows = read_occupancy("test")
    x = np.array([[r.temperature, r.humidity, r.light * 0.6, r.co2] for r in rows], np.float32)
    return x, np.array([r.occupied for r in rows], np.float32)


def test_propensity_beats_logistic_regression_where_items_and_visitors_interact() -> None:
    """Known truth: two kinds of visitors like opposite items, which no sum of two effects can say."""
    dice = np.random.default_rng(0)
    kind, item = dice.integers(0, 2, 12_000), dice.integers(0, 6, 12_000)
    truth = np.where((item % 2) == kind, 0.3, 0.03)
    label = (dice.random(12_000) < truth).astype(np.float32)
    features = np.eye(2, dtype=np.float32)[kind]
    half = slice(0, 6_000), slice(6_000, None)
    step = TrainStep(Options().graph("propensity", "train_step.onnx"))
    learn = {"features": features[half[0]], "item": item[half[0]]}
    weights = propensity.train(step, learn, label[half[0]], 6, 10, dice)
    predict = Predictor(Options().graph("propensity", "predict.onnx"))
    score = predict(weights, {"features": features[half[1]], "item": item[half[1]]})
    flat = np.concatenate([features, np.eye(6, dtype=np.float32)[item]], axis=1)
    linear = baselines.logistic_regression(flat[half[0]], label[half[0]], flat[half[1]])
    assert evaluate.log_loss(score, label[half[1]]) < evaluate.log_loss(linear, label[half[1]]) - 0.02
    assert evaluate.auc(score, label[half[1]]) > 0.7 > evaluate.auc(linear, label[half[1]])


def test_propensity_on_the_real_log_is_no_worse_than_a_constant(tmp_path: Path) -> None:
    """46 clicks show no more than that; the card gives the interval, which includes chance."""
    bundle, figures = built("propensity", tmp_path, Options())
    assert figures["log_loss"] <= figures["log_loss_constant"] * 1.01
    assert "95 % interval" in bundle.read("card.md").decode()


@pytest.fixture(scope="module")
def tastes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, dict[str, float]]:
    folder = tmp_path_factory.mktemp("tastes")
    ratings = taste_ratings(folder / "ratings.csv")
    options = Options(ratings=ratings, exclude_users=frozenset({"p0", "p1", "p2", "p3"}), epochs=60)
    return built("affinity", folder, options)


def test_affinity_beats_popularity_where_there_are_tastes(tastes: tuple[Bundle, dict[str, float]]) -> None:
    _, figures = tastes
    assert figures["hr10"] > figures["hr10_popularity"] + 0.2
    assert figures["ndcg10"] > figures["ndcg10_popularity"]


def test_a_stranger_is_learned_on_the_device_from_shared_parameters(tastes: tuple[Bundle, dict[str, float]]) -> None:
    bundle, _ = tastes
    catalogue, weights = bundle.catalogue(), bundle.weights()
    even = np.array([item[1:].isdigit() and int(item[1:]) % 2 == 0 for item in catalogue])
    history = ranking.History(user="new", lived=np.flatnonzero(even)[:12], held_out=int(np.flatnonzero(even)[-1]))
    step, predict = TrainStep(bundle.read("train_step.onnx")), Predictor(bundle.read("predict.onnx"))
    own = ranking.personalise(step, weights, affinity.PERSONAL, history, affinity.DEVICE, np.random.default_rng(0))
    rows = np.array([row for row in range(len(catalogue)) if row not in set(history.lived.tolist())])
    before, after = (
        evaluate.auc(predict({**weights, **some}, {"item": rows}), even[rows].astype(float)) for some in ({}, own)
    )
    assert after > 0.8 > before


def test_excluded_people_leave_no_trace_but_their_items(tmp_path: Path) -> None:
    full = taste_ratings(tmp_path / "full.csv")
    fewer = tmp_path / "fewer.csv"
    kept = [line for line in full.read_text().splitlines() if not line.startswith("p7,")]
    fewer.write_text("\n".join(kept) + "\n")
    without, _ = built("affinity", tmp_path / "a.edgeward", Options(ratings=fewer, epochs=2))
    excluded, figures = built(
        "affinity", tmp_path / "b.edgeward", Options(ratings=full, epochs=2, exclude_users=frozenset({"p7"}))
    )
    assert without.catalogue() == excluded.catalogue()
    for name, value in without.weights().items():
        np.testing.assert_array_equal(value, excluded.weights()[name])
    assert "hr10_strangers" in figures


def test_only_the_named_people_are_learned_from(tmp_path: Path) -> None:
    ratings = taste_ratings(tmp_path / "ratings.csv")
    bundle, _ = built("affinity", tmp_path, Options(ratings=ratings, epochs=1, users=frozenset({"p1", "p2"})))
    assert "2 people were learned from" in bundle.read("card.md").decode()
    assert check_bundle(bundle.path) == []


def test_nobody_left_to_learn_from_is_said(tmp_path: Path) -> None:
    ratings = taste_ratings(tmp_path / "ratings.csv")
    with pytest.raises(DatasetInvalid, match="nobody"):
        built("affinity", tmp_path, Options(ratings=ratings, users=frozenset({"stranger"})))


def test_a_catalogue_smaller_than_the_negatives_still_builds(tmp_path: Path) -> None:
    ratings = tmp_path / "tiny.csv"
    ratings.write_text("a,x,1,1\na,y,1,2\nb,y,1,1\nb,x,1,2\n")
    bundle, figures = built("affinity", tmp_path, Options(ratings=ratings, epochs=1))
    assert bundle.catalogue() == ("x", "y")
    assert 0.0 <= figures["hr10"] <= 1.0


def test_training_on_the_device_lowers_the_loss() -> None:
    for name in SHIPPED:
        bundle = open_bundle(zoo_path(name))
        from models import golden

        stored = golden.read_golden(bundle)
        inputs, label = golden.predict_inputs(stored), np.asarray(stored["train/label"], np.float32)
        weights, losses = bundle.weights(), []
        for _ in range(30):
            weights, loss = TrainStep(bundle.read("train_step.onnx"))(weights, inputs, label, 0.1)
            losses.append(loss)
        assert losses[-1] < losses[0], name


def test_a_missing_graph_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(BuildUnavailable, match="edge-models export context"):
        zoo_module("context").build(Options(graphs=tmp_path))
