"""The agent serves what the bundle's calibration makes of the graph's scores."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from edge_agent.infer.bundle import load_model
from edge_agent.infer.model import LoadedModel
from models.bundle import write_bundle
from models.check import check_bundle
from models.spec import Calibration
from tests.models.sample import parts

ROWS = {"item": np.arange(20)}


def _model(name: str, calibration: Calibration, folder: Path) -> LoadedModel:
    spec, files = parts(name)
    path = write_bundle(folder, replace(spec, calibration=calibration), files)
    assert check_bundle(path) == [], "golden outputs are the graph's own, before calibration"
    return load_model(path)


def test_without_a_calibration_scores_are_the_graphs_own(tmp_path: Path) -> None:
    model = _model("affinity", Calibration(), tmp_path)
    np.testing.assert_array_equal(model.score(ROWS), model.predict(ROWS))
    assert model.scale == "rank"


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(method="temperature", temperature=2.0),
        Calibration(method="platt", scale=0.5, offset=-1.0),
        Calibration(method="isotonic", knots=(-9.0, 0.0, 9.0), levels=(0.1, 0.2, 0.9)),
    ],
)
def test_a_calibrated_ranker_gives_probabilities_in_the_same_order(calibration: Calibration, tmp_path: Path) -> None:
    model = _model("affinity", calibration, tmp_path)
    raw, served = model.predict(ROWS), model.score(ROWS)
    assert model.scale == "probability"
    assert ((served > 0.0) & (served < 1.0)).all()
    np.testing.assert_array_equal(np.argsort(raw, kind="stable"), np.argsort(served, kind="stable"))


def test_platt_by_hand(tmp_path: Path) -> None:
    model = _model("affinity", Calibration(method="platt", scale=0.5, offset=-1.0), tmp_path)
    z = model.predict(ROWS).astype(np.float64)
    np.testing.assert_allclose(model.score(ROWS), 1.0 / (1.0 + np.exp(1.0 - 0.5 * z)), rtol=1e-5)


def test_a_probability_model_is_calibrated_on_its_logit(tmp_path: Path) -> None:
    model = _model("context", Calibration(method="temperature", temperature=3.0), tmp_path)
    rows = {"features": np.array([[21.0, 27.0, 450.0, 900.0], [21.0, 27.0, 0.0, 430.0]], np.float32)}
    raw, served = model.predict(rows).astype(np.float64), model.score(rows)
    np.testing.assert_allclose(served, 1.0 / (1.0 + ((1.0 - raw) / raw) ** (1.0 / 3.0)), rtol=1e-4)
    assert abs(served[0] - 0.5) < abs(raw[0] - 0.5)
