"""Will this be clicked? From coarse visitor features and the item, learned on the Open Bandit log.

A factorisation machine between the features and the item (Rendle 2010) with linear terms; the number of
items and of feature columns stays open in the graph. The personal part is one offset: how eager the people
of this device are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import baselines, datasets, evaluate
from models.architecture import Architecture, Rows, Tensor
from models.build import Draft, Options, rounded, rows_of
from models.card import Card, Figure
from models.datasets import Impression
from models.ranking import item_order
from models.session import Predictor, TrainStep
from models.spec import Calibration, Input, OneHot, Train

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
FIELDS = ("user_feature_0", "user_feature_1", "user_feature_2", "user_feature_3")
FACTORS = 4


def forward(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    """Logit of a click, (n,)."""
    features, item = x["features"], x["item"]
    crossed = ((features @ p["feature_factor"]) * p["item_factor"][item]).sum(-1)  # (n,)
    return features @ p["feature_weight"] + p["item_bias"][item] + crossed + p["bias"] + p["offset"]


ARCHITECTURE = Architecture(
    name="propensity",
    task="probability",
    parameters=(
        Tensor(name="item_bias", shape=("items",), share="shared", decay=0.003),
        Tensor(name="item_factor", shape=("items", FACTORS), share="shared", decay=0.003),
        Tensor(name="feature_weight", shape=("columns",), share="shared", decay=0.003),
        Tensor(name="feature_factor", shape=("columns", FACTORS), share="shared", decay=0.003),
        Tensor(name="bias", shape=(1,), share="shared"),
        Tensor(name="offset", shape=(1,), share="personal", init="zeros", step=0.1),
    ),
    inputs=(Rows(name="features", dtype="float32", columns="columns"), Rows(name="item", dtype="int64")),
    forward=forward,
)
TRAIN = Train(loss="bce", lr=0.5, batch=256, epochs=10)


def build(options: Options) -> Draft:
    """Train on the log of Thompson sampling, measure on the uniform log, which favours no item."""
    log, test = datasets.read_open_bandit("bts"), datasets.read_open_bandit("random")
    catalogue = sorted({row.item for row in log}, key=item_order)
    features = vocabulary(log)
    inputs, label = arrays(log, features, catalogue)
    test_inputs, test_label = arrays(test, features, catalogue)
    epochs = options.epochs or TRAIN.epochs
    step = TrainStep(options.graph("propensity", "train_step.onnx"))
    weights = train(step, inputs, label, len(catalogue), epochs, np.random.default_rng(options.seed))
    score = Predictor(options.graph("propensity", "predict.onnx"))(weights, test_inputs)
    some = slice(0, len(test), len(test) // 8)
    width = sum(feature.width for feature in features)
    return Draft(
        architecture=ARCHITECTURE,
        summary="Click probability of an item for a coarse kind of visitor",
        licence="CC-BY-4.0",
        weights=weights,
        inputs=(
            Input(name="features", dtype="float32", shape=(-1, width), from_="features", features=features),
            Input(name="item", dtype="int64", shape=(-1,), from_="candidate"),
        ),
        needed_fields=FIELDS,
        train=TRAIN,
        calibration=Calibration(),
        catalogue=tuple(catalogue),
        example={name: rows[some] for name, rows in test_inputs.items()},
        label=test_label[some],
        card=_card(
            _figures(score, label, test_inputs, test_label, inputs, len(catalogue), options.seed),
            len(label),
            epochs,
        ),
    )


def measure(weights: Mapping[str, F32], options: Options) -> float:
    """Area under the curve of clicks on the uniform log, in percent."""
    log, test = datasets.read_open_bandit("bts"), datasets.read_open_bandit("random")
    inputs, label = arrays(test, vocabulary(log), sorted({row.item for row in log}, key=item_order))
    score = Predictor(options.graph("propensity", "predict.onnx"))(weights, inputs)
    return 100.0 * evaluate.auc(score, label)


def vocabulary(log: Sequence[Impression]) -> tuple[OneHot, ...]:
    """One one-hot a visitor feature, with the values that the log has."""
    return tuple(
        OneHot(field=field, values=tuple(sorted({row.user[index] for row in log})))
        for index, field in enumerate(FIELDS)
    )


def arrays(
    log: Sequence[Impression], features: Sequence[OneHot], catalogue: Sequence[str]
) -> tuple[dict[str, NDArray[np.generic]], F32]:
    """The graph's inputs and the clicks; a value that the vocabulary lacks is all zeros."""
    row_of = {item: row for row, item in enumerate(catalogue)}
    columns = [
        [float(row.user[index] == value) for index, feature in enumerate(features) for value in feature.values]
        for row in log
    ]
    item = np.array([row_of[row.item] for row in log], np.int64)
    inputs: dict[str, NDArray[np.generic]] = {"features": np.array(columns, np.float32), "item": item}
    return inputs, np.array([row.click for row in log], np.float32)


def train(
    step: TrainStep,
    inputs: Mapping[str, NDArray[np.generic]],
    label: F32,
    items: int,
    epochs: int,
    dice: np.random.Generator,
) -> dict[str, F32]:
    """Start from the rate of clicks, then learn who and what differs from it."""
    width, rate = inputs["features"].shape[1], float(label.mean())
    weights: dict[str, F32] = {
        "item_bias": np.zeros(items, np.float32),
        "item_factor": dice.normal(0.0, 0.1, (items, FACTORS)).astype(np.float32),
        "feature_weight": np.zeros(width, np.float32),
        "feature_factor": dice.normal(0.0, 0.1, (width, FACTORS)).astype(np.float32),
        "bias": np.array([np.log(rate / (1.0 - rate))], np.float32),
        "offset": np.zeros(1, np.float32),
    }
    for epoch in range(epochs):
        for rows in rows_of(len(label), TRAIN.batch, dice):
            some = {name: values[rows] for name, values in inputs.items()}
            after, _ = step(weights, some, label[rows], TRAIN.lr * (1.0 - epoch / epochs))
            weights = {**after, "offset": weights["offset"]}
    return weights


def _figures(
    score: F32,
    label: F32,
    test_inputs: Mapping[str, NDArray[np.generic]],
    test_label: F32,
    inputs: Mapping[str, NDArray[np.generic]],
    items: int,
    seed: int,
) -> tuple[Figure, ...]:
    constant = np.full(len(test_label), label.mean(), np.float32)
    item, test_item = (np.asarray(some["item"], np.int64) for some in (inputs, test_inputs))
    popular = baselines.smoothed_rate(item, label, items)[test_item]
    low, high = evaluate.interval(evaluate.auc, score, test_label, seed)
    clicks = int(test_label.sum())
    kinds = np.asarray(test_inputs["features"], np.float32)[:, :3]  # user_feature_0 has three values
    largest = kinds[:, kinds.sum(axis=0).argmax()] > 0
    return (
        Figure(
            name="auc",
            value=evaluate.auc(score, test_label),
            note=f"95 % interval {rounded(low)} to {rounded(high)}; {clicks} clicks",
        ),
        Figure(name="log_loss", value=evaluate.log_loss(score, test_label)),
        Figure(
            name="log_loss_constant",
            value=evaluate.log_loss(constant, test_label),
            note="baseline: the training log's click rate",
        ),
        Figure(
            name="auc_item_rate",
            value=evaluate.auc(popular, test_label),
            note="baseline: smoothed click rate of the item",
        ),
        Figure(name="mean_score", value=float(score.mean()), note=f"clicked: {rounded(float(test_label.mean()))}"),
        Figure(
            name="log_loss_commonest_kind",
            value=evaluate.log_loss(score[largest], test_label[largest]),
            note=f"subgroup, {int(largest.sum())} rows",
        ),
        Figure(
            name="log_loss_other_kinds",
            value=evaluate.log_loss(score[~largest], test_label[~largest]),
            note=f"subgroup, {int((~largest).sum())} rows",
        ),
    )


def _card(figures: tuple[Figure, ...], rows: int, epochs: int) -> Card:
    return Card(
        data=(
            "Open Bandit Dataset, small, campaign men, ZOZO, Inc. Saito, Aihara, Matsutani, Narita, 2020. "
            "CC BY 4.0. "
            "34 items, four hashed visitor features; position and prices are left out."
        ),
        protocol=(
            f"Trained on the log of the Thompson policy ({rows} impressions, {epochs} epochs), measured on "
            f"the log of the "
            "uniform policy of the same week."
        ),
        figures=figures,
        intended_use=("A prior for a bandit that goes on learning, such as Thompson sampling over the catalogue."),
        limits=(
            "Clicks are rare (0.5 to 0.7 %) and few, so the intervals are wide; read them before relying on "
            "the order of the "
            "items. The hashed features mean nothing outside this dataset: train again on your own log."
        ),
    )
