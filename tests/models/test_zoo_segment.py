"""Segments: one step on the device is MacQueen's, and centres beat one cluster on real readings."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models import tflite
from models.build import Options, build_bundle
from models.bundle import open_bundle
from models.check import check_bundle
from models.session import Predictor, TrainStep
from models.zoo import segment
from tests.models.sample import zoo_path

READING = st.tuples(st.floats(15, 30), st.floats(10, 60), st.floats(0, 1_500), st.floats(300, 2_000))


@settings(max_examples=40, deadline=None)
@given(READING, st.floats(0.01, 1.0))
def test_the_nearest_centre_steps_towards_the_example_and_no_other_moves(
    reading: tuple[float, float, float, float], lr: float
) -> None:
    bundle = open_bundle(zoo_path("segment"))
    weights, row = bundle.weights(), np.array(reading, np.float32)
    after = segment.moved(TrainStep(bundle.read("train_step.onnx")), weights, row, lr)
    nearest = int(np.argmin(segment.distances(weights, row[None])[0]))
    z = (row - weights["mean"]) * weights["scale"]
    want = weights["centre"].copy()
    want[nearest] += np.float32(lr) * (z - want[nearest])
    np.testing.assert_allclose(after["centre"], want, atol=1e-4)


def test_the_best_candidate_is_the_nearest_centre() -> None:
    bundle = open_bundle(zoo_path("segment"))
    weights, (x, _) = bundle.weights(), segment.arrays("test")
    predict, every = Predictor(bundle.read("predict.onnx")), np.arange(segment.CENTRES)
    for row in x[::300]:
        score = predict(weights, {"features": row[None], "segment": every})
        np.testing.assert_allclose(score, -0.5 * segment.distances(weights, row[None])[0], rtol=1e-4, atol=1e-4)


def test_moving_centres_beat_one_cluster_random_rows_and_standing_still(tmp_path: Path) -> None:
    made = build_bundle("segment", Options(), tmp_path, "edge-models build segment")
    figures = {figure.name: figure for figure in made.figures}
    for name in ("one_cluster", "random_rows", "standing_still"):
        gain = figures[f"gain_over_{name}"]
        low = float(gain.note.rpartition(": ")[2].split(" to ")[0])
        assert gain.value > low > 0.0, name
    assert figures["occupancy_accuracy_by_segment"].value > figures["occupancy_accuracy_majority"].value + 0.2


def test_the_shipped_segments_pass_on_both_backends_and_stay_personal() -> None:
    bundle = open_bundle(zoo_path("segment"))
    assert check_bundle(bundle.path) == []
    tflite.check(bundle)
    assert [p.name for p in bundle.spec.of_share("personal")] == ["centre"]
