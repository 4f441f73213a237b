"""Is someone in the room? From temperature, humidity, light and CO2, learned on UCI Occupancy Detection.

A small multilayer perceptron whose standardisation is part of the graph, so that devices feed plain °C, %,
lux and ppm. The personal part is one offset: a room that is always brighter than the office of the data
shifts it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import baselines, datasets, evaluate
from models.architecture import Architecture, Rows, Tensor
from models.build import Draft, Options, rounded, rows_of
from models.card import Card, Figure
from models.datasets import Reading
from models.session import Predictor, TrainStep
from models.spec import Calibration, Input, Last, Train

F32 = NDArray[np.float32]
FIELDS = ("temperature", "humidity", "light", "co2")
HIDDEN = 16


def forward(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    """Logit of occupancy, (n,)."""
    z = (x["features"] - p["mean"]) * p["scale"]  # (n, 4)
    h = (z @ p["hidden_weight"] + p["hidden_bias"]).clip(0, None)  # (n, 16)
    return (h @ p["out_weight"])[:, 0] + p["out_bias"] + p["offset"]  # (n,)


ARCHITECTURE = Architecture(
    name="context",
    task="probability",
    parameters=(
        Tensor(name="mean", shape=(len(FIELDS),), share="shared", step=0.0),
        Tensor(name="scale", shape=(len(FIELDS),), share="shared", step=0.0),
        Tensor(name="hidden_weight", shape=(len(FIELDS), HIDDEN), share="shared", decay=0.01),
        Tensor(name="hidden_bias", shape=(HIDDEN,), share="shared"),
        Tensor(name="out_weight", shape=(HIDDEN, 1), share="shared", decay=0.01),
        Tensor(name="out_bias", shape=(1,), share="shared"),
        Tensor(name="offset", shape=(1,), share="personal", init="zeros", step=0.1),
    ),
    inputs=(Rows(name="features", dtype="float32", columns=len(FIELDS)),),
    forward=forward,
    tflite=True,
)
# Chosen on the last quarter of the training days.
TRAIN = Train(loss="bce", lr=0.2, batch=64, epochs=5)


def build(options: Options) -> Draft:
    """Train on the training days, measure on the later test days."""
    x, y = arrays(datasets.read_occupancy("training"))
    test_x, test_y = arrays(datasets.read_occupancy("test"))
    dice = np.random.default_rng(options.seed)
    epochs = options.epochs or TRAIN.epochs
    weights = train(TrainStep(options.graph("context", "train_step.onnx")), x, y, epochs, dice)
    score = Predictor(options.graph("context", "predict.onnx"))(weights, {"features": test_x})
    figures = _figures(score, x, y, test_x, test_y, options.seed)
    return Draft(
        architecture=ARCHITECTURE,
        summary="Room occupancy from temperature, humidity, light and CO2",
        licence="CC-BY-4.0",
        weights=weights,
        inputs=(
            Input(
                name="features",
                dtype="float32",
                shape=(-1, len(FIELDS)),
                from_="features",
                features=_features(),
            ),
        ),
        needed_fields=FIELDS,
        train=TRAIN,
        calibration=Calibration(),
        example={"features": test_x[:: len(test_x) // 8][:8]},
        label=test_y[:: len(test_y) // 8][:8],
        card=_card(figures, len(y), len(test_y), epochs),
    )


def measure(weights: Mapping[str, F32], options: Options) -> float:
    """Accuracy on the test days, in percent."""
    x, y = arrays(datasets.read_occupancy("test"))
    score = Predictor(options.graph("context", "predict.onnx"))(weights, {"features": x})
    return 100.0 * evaluate.accuracy(score, y)


def _features() -> tuple[Last, ...]:
    return tuple(Last(field=field) for field in FIELDS)


def arrays(rows: Sequence[Reading]) -> tuple[F32, F32]:
    x = np.array([[getattr(row, field) for field in FIELDS] for row in rows], np.float32)
    return x, np.array([row.occupied for row in rows], np.float32)


def train(step: TrainStep, x: F32, y: F32, epochs: int, dice: np.random.Generator) -> dict[str, F32]:
    spread = x.std(axis=0, dtype=np.float64)
    weights: dict[str, F32] = {
        "mean": x.mean(axis=0, dtype=np.float64).astype(np.float32),
        # A column that never changes says nothing, and must not divide by nothing.
        "scale": (1.0 / np.where(spread > 0.0, spread, 1.0)).astype(np.float32),
        "hidden_weight": dice.normal(0.0, 0.5, (len(FIELDS), HIDDEN)).astype(np.float32),
        "hidden_bias": np.zeros(HIDDEN, np.float32),
        "out_weight": dice.normal(0.0, 0.25, (HIDDEN, 1)).astype(np.float32),
        "out_bias": np.zeros(1, np.float32),
        "offset": np.zeros(1, np.float32),
    }
    for epoch in range(epochs):
        for rows in rows_of(len(y), TRAIN.batch, dice):
            after, _ = step(weights, {"features": x[rows]}, y[rows], TRAIN.lr * (1.0 - epoch / epochs))
            weights = {**after, "offset": weights["offset"]}
    return weights


def _figures(score: F32, x: F32, y: F32, test_x: F32, test_y: F32, seed: int) -> tuple[Figure, ...]:
    linear = baselines.logistic_regression(x, y, test_x)
    low, high = evaluate.interval(evaluate.accuracy, score, test_y, seed)
    lit = test_x[:, FIELDS.index("light")] > 0
    majority = np.full(len(test_y), y.mean(), np.float32)
    return (
        Figure(
            name="accuracy",
            value=evaluate.accuracy(score, test_y),
            note=f"95 % interval {rounded(low)} to {rounded(high)}",
        ),
        Figure(name="f1", value=evaluate.f1(score, test_y)),
        Figure(name="auc", value=evaluate.auc(score, test_y)),
        Figure(name="log_loss", value=evaluate.log_loss(score, test_y)),
        Figure(
            name="accuracy_majority",
            value=evaluate.accuracy(majority, test_y),
            note="baseline: the commoner class",
        ),
        Figure(name="accuracy_logistic_regression", value=evaluate.accuracy(linear, test_y), note="baseline"),
        Figure(name="log_loss_logistic_regression", value=evaluate.log_loss(linear, test_y), note="baseline"),
        Figure(
            name="accuracy_lights_on",
            value=evaluate.accuracy(score[lit], test_y[lit]),
            note=f"subgroup, {int(lit.sum())} rows",
        ),
        Figure(
            name="accuracy_lights_off",
            value=evaluate.accuracy(score[~lit], test_y[~lit]),
            note=f"subgroup, {int((~lit).sum())} rows",
        ),
    )


def _card(figures: tuple[Figure, ...], train_rows: int, test_rows: int, epochs: int) -> Card:
    return Card(
        data=(
            "UCI Occupancy Detection: one office in Belgium, one row a minute, February 2015. "
            "Candanedo and Feldheim, Energy and Buildings 112, 2016. CC BY 4.0. HumidityRatio is left out: "
            "it follows "
            "from temperature and humidity."
        ),
        protocol=(
            f"Trained on datatraining ({train_rows} rows, {epochs} epochs), measured on datatest "
            f"({test_rows} rows of other days)."
        ),
        figures=figures,
        intended_use=("Switching lights or ventilation in one room, with a rule or a person able to override it."),
        limits=(
            "One office with windows and office hours. Light decides most of it: where lamps burn in empty "
            "rooms, or people "
            "sit in the dark, it is wrong until the room has trained its own offset. It says nothing about "
            "who or how many. "
            "Not for safety, security or the surveillance of people."
        ),
    )
