"""A calibration makes probabilities mean what they say, on rows that it was not fitted on."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from models import calibrate, evaluate
from models.calibration import apply
from models.errors import SpecInvalid
from models.spec import Calibration, parse, render
from tests.models.sample import parts

METHODS = ("temperature", "platt", "isotonic")


def _rows(seed: int, count: int, slope: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose true probability is sigmoid(slope · z + offset)."""
    dice = np.random.default_rng(seed)
    z = dice.normal(0.0, 2.0, count)
    truth = 1.0 / (1.0 + np.exp(-(slope * z + offset)))
    return z.astype(np.float32), (dice.random(count) < truth).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_an_overconfident_model_is_corrected(method: calibrate.Method) -> None:
    found = calibrate.fit(method, *_rows(0, 4_000, 0.4, 0.0), "rank")
    fresh = _rows(1, 4_000, 0.4, 0.0)
    gain = calibrate.gain(found, *fresh, "rank")
    assert gain.ece_before > 0.1
    assert gain.ece_after < 0.03
    assert gain.log_loss_after < gain.log_loss_before


def test_the_numbers_that_made_the_labels_are_found_again() -> None:
    rows = _rows(2, 20_000, 0.5, -1.0)
    platt = calibrate.fit("platt", *rows, "rank")
    assert (platt.scale, platt.offset) == pytest.approx((0.5, -1.0), abs=0.06)
    temperature = calibrate.fit("temperature", *_rows(3, 20_000, 0.5, 0.0), "rank")
    assert temperature.temperature == pytest.approx(2.0, abs=0.1)


def test_isotonic_learns_a_bend_that_no_line_can_say() -> None:
    dice = np.random.default_rng(4)
    z = dice.uniform(-3, 3, 8_000).astype(np.float32)
    truth = np.where(np.abs(z) < 1.5, 0.5, np.where(z < 0, 0.1, 0.9))
    y = (dice.random(len(z)) < truth).astype(np.float32)
    half = slice(0, 4_000), slice(4_000, None)
    errors = {
        method: evaluate.ece(
            apply(z[half[1]], "rank", calibrate.fit(method, z[half[0]], y[half[0]], "rank")), y[half[1]]
        )
        for method in ("platt", "isotonic")
    }
    assert errors["isotonic"] < 0.6 * errors["platt"]


@given(
    st.lists(st.tuples(st.floats(-30, 30), st.booleans()), min_size=2, max_size=200),
    st.sampled_from(METHODS),
    st.sampled_from(["rank", "probability"]),
)
def test_whatever_the_rows_the_fit_is_sound_and_keeps_the_order(
    rows: list[tuple[float, bool]], method: calibrate.Method, task: str
) -> None:
    z = np.array([value for value, _ in rows], np.float32)
    score = z if task == "rank" else (1.0 / (1.0 + np.exp(-z))).astype(np.float32)
    found = calibrate.fit(method, score, np.array([label for _, label in rows], np.float32), task)
    spec, _ = parts("context")
    assert parse(render(replace(spec, calibration=found))).calibration == found
    given_out = apply(np.sort(score), task, found)
    assert ((given_out >= 0.0) & (given_out <= 1.0)).all()
    if found.method != "platt":  # a line may fall, when the scores say the opposite of the labels
        assert all(a <= b + 1e-6 for a, b in pairwise(given_out.tolist()))


def test_one_class_alone_teaches_nothing() -> None:
    assert calibrate.fit("platt", np.zeros(5), np.ones(5), "rank") == Calibration()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (Calibration(method="isotonic", knots=(1.0, 1.0), levels=(0.1, 0.2)), "rise"),
        (Calibration(method="isotonic", knots=(1.0, 2.0), levels=(0.3, 0.2)), "fall"),
        (Calibration(method="isotonic", knots=(1.0,), levels=(0.3,)), "two knots"),
        (Calibration(method="platt", knots=(1.0, 2.0), levels=(0.1, 0.2)), "two knots"),
        (Calibration(method="platt", scale=float("nan")), "finite"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(wrong: Calibration, word: str) -> None:
    spec, _ = parts("context")
    with pytest.raises(SpecInvalid, match=word):
        render(replace(spec, calibration=wrong))
