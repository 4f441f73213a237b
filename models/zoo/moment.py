"""When is a person receptive? The hazard that they act within the next hour, given that they have not yet.

A discrete-time hazard model (Tutz and Schmid 2016, "Modeling Discrete Time-to-Event Data"): one row a person and hour,
label 1 in the hour in which they act, which ends the spell. The personal part is an offset and a rhythm: how eager
this person is, and at which hours and weekdays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import datasets, evaluate
from models.architecture import Architecture, Rows, Tensor
from models.build import Draft, Options, rows_of
from models.card import Card, Figure
from models.elementwise import log, tanh, total
from models.errors import DatasetInvalid
from models.session import Predictor, TrainStep
from models.spec import (
    Calibration,
    Count,
    FeatureSpec,
    HourCos,
    HourSin,
    Input,
    TimeSince,
    Train,
    WeekdayCos,
    WeekdaySin,
)
from models.zoo import spells
from models.zoo.spells import Spells

F32 = NDArray[np.float32]
SOURCE = "activity"
"""The profile's source whose events are what the person does."""
FEATURES: tuple[FeatureSpec, ...] = (
    HourSin(),
    HourCos(),
    WeekdaySin(),
    WeekdayCos(),
    TimeSince(source=SOURCE, cap_s=float(spells.HORIZON_H * 3_600)),
    *(Count(source=SOURCE, window_s=days * 86_400.0) for days in spells.COUNT_DAYS),
)
CYCLIC, AMOUNTS, HIDDEN = 4, 1 + len(spells.COUNT_DAYS), 16
PERSONAL = ("offset", "rhythm")
# Chosen on a tenth of the people that are learned from.
TRAIN = Train(loss="bce", optimiser="momentum", lr=0.2, batch=512, epochs=12)
STRANGERS = 10
"""Every person whose place in the sorted ids leaves a rest below 3 when divided by this is measured on only."""


def forward(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    """Logit of "acts within the hour", (n,)."""
    time = x["features"][:, :CYCLIC]  # (n, 4), hour and weekday on the circle
    amount = (log(1.0 + x["features"][:, CYCLIC:].clip(0, None)) - p["mean"]) * p["scale"]  # (n, 4)
    hidden = tanh(time @ p["time_weight"] + amount @ p["amount_weight"] + p["hidden_bias"])  # (n, HIDDEN)
    return (hidden @ p["out_weight"])[:, 0] + total(time * p["rhythm"]) + p["out_bias"] + p["offset"]


ARCHITECTURE = Architecture(
    name="moment",
    task="probability",
    parameters=(
        Tensor(name="mean", shape=(AMOUNTS,), share="shared", step=0.0),
        Tensor(name="scale", shape=(AMOUNTS,), share="shared", step=0.0),
        Tensor(name="time_weight", shape=(CYCLIC, HIDDEN), share="shared"),
        Tensor(name="amount_weight", shape=(AMOUNTS, HIDDEN), share="shared"),
        Tensor(name="hidden_bias", shape=(HIDDEN,), share="shared"),
        Tensor(name="out_weight", shape=(HIDDEN, 1), share="shared"),
        Tensor(name="out_bias", shape=(1,), share="shared"),
        Tensor(name="rhythm", shape=(CYCLIC,), share="personal", init="zeros", decay=0.01),
        Tensor(name="offset", shape=(1,), share="personal", init="zeros", decay=0.01),
    ),
    inputs=(Rows(name="features", dtype="float32", columns=CYCLIC + AMOUNTS),),
    forward=forward,
    optimiser="momentum",
    tflite=True,
)


def build(options: Options) -> Draft:
    """Learn from most people's spells, measure on the others'.

    Raises:
        DatasetInvalid: no interactions were given, or too few people come back.
    """
    rows = datasets.read_ratings(options.given("moment"))
    known, strangers = divided(spells.of_ratings([row for row in rows if options.learns_from(row.user)]))
    dice = np.random.default_rng(options.seed)
    step, predict = (
        TrainStep(options.graph("moment", "train_step.onnx")),
        Predictor(options.graph("moment", "predict.onnx")),
    )
    weights = train(step, known, options.epochs or TRAIN.epochs, dice)
    some = slice(0, len(strangers.label), max(1, len(strangers.label) // 16))
    return Draft(
        architecture=ARCHITECTURE,
        summary="Chance that a person acts within the next hour",
        licence=options.licence or "as the ratings that were given; ask whoever gave them",
        weights=weights,
        inputs=(
            Input(
                name="features",
                dtype="float32",
                shape=(-1, CYCLIC + AMOUNTS),
                from_="features",
                features=FEATURES,
            ),
        ),
        train=TRAIN,
        calibration=Calibration(),
        example={"features": strangers.features[some][:16]},
        label=strangers.label[some][:16],
        card=_card(figures(predict, weights, known, strangers, options.seed), known, strangers, options),
    )


def measure(weights: Mapping[str, F32], options: Options) -> float:
    """Area under the curve of acts in the next hour of people never learned from, in percent."""
    _, strangers = divided(spells.of_ratings(datasets.read_ratings(options.given("moment"))))
    score = Predictor(options.graph("moment", "predict.onnx"))(weights, {"features": strangers.features})
    return 100.0 * evaluate.auc(score, strangers.label)


def divided(every: Spells) -> tuple[Spells, Spells]:
    """Seven tenths of the people to learn from, three to measure on.

    Raises:
        DatasetInvalid: one of the two holds nobody who comes back.
    """
    stranger = every.person % STRANGERS < 3
    known, strangers = every.of(~stranger), every.of(stranger)
    if not known.label.any() or not strangers.label.any():
        raise DatasetInvalid("too few people come back to learn from", hint="give a longer file of more people")
    return known, strangers


def train(step: TrainStep, known: Spells, epochs: int, dice: np.random.Generator) -> dict[str, F32]:
    """Shared weights; the personal ones stay at zero. The learning rate falls to 0."""
    amount = np.log1p(known.features[:, CYCLIC:].astype(np.float64))
    rate = float(known.label.mean())
    weights: dict[str, F32] = {
        "mean": amount.mean(0).astype(np.float32),
        "scale": (1.0 / (amount.std(0) + 1e-3)).astype(np.float32),
        "time_weight": dice.normal(0.0, 0.3, (CYCLIC, HIDDEN)).astype(np.float32),
        "amount_weight": dice.normal(0.0, 0.5, (AMOUNTS, HIDDEN)).astype(np.float32),
        "hidden_bias": np.zeros(HIDDEN, np.float32),
        "out_weight": dice.normal(0.0, 0.1, (HIDDEN, 1)).astype(np.float32),
        "out_bias": np.array([np.log(rate / (1.0 - rate))], np.float32),
        "rhythm": np.zeros(CYCLIC, np.float32),
        "offset": np.zeros(1, np.float32),
    }
    own, now = {name: weights[name] for name in PERSONAL}, dict(weights)
    for epoch in range(epochs):
        for rows in rows_of(len(known.label), TRAIN.batch, dice):
            lr = TRAIN.lr * (1.0 - epoch / epochs)
            now, _ = step({**now, **own}, {"features": known.features[rows]}, known.label[rows], lr)
    return {name: own.get(name, now[name]) for name in weights}


def figures(
    predict: Predictor, weights: Mapping[str, F32], known: Spells, strangers: Spells, seed: int
) -> tuple[Figure, ...]:
    """Log loss a person-hour of strangers, against three baselines that know less; people are the unit of intervals."""
    own = spells.losses(predict(weights, {"features": strangers.features}), strangers.label)
    found = [
        Figure(name="log_loss", value=float(own.mean()), note=f"nats a person-hour, {len(own)} of them"),
        Figure(name="auc", value=evaluate.auc(predict(weights, {"features": strangers.features}), strangers.label)),
    ]
    baselines = {
        "constant_hazard": (np.zeros_like(known.hour), np.zeros_like(strangers.hour)),
        "hour_of_day": (known.hour, strangers.hour),
        "time_since": (known.since_bin(), strangers.since_bin()),
    }
    for name, (learn, group) in baselines.items():
        other = spells.losses(spells.rate_of(learn, known.label)[group], strangers.label)
        low, high = spells.interval_by_person(other - own, strangers.person, seed)
        found += [
            Figure(name=f"log_loss_{name}", value=float(other.mean()), note="baseline"),
            Figure(
                name=f"gain_over_{name}",
                value=float((other - own).mean()),
                note=f"nats a person-hour, 95 % interval over people {low:.5f} to {high:.5f}",
            ),
        ]
    return (*found, *_subgroups(own, strangers))


def _subgroups(own: NDArray[np.float64], strangers: Spells) -> list[Figure]:
    night = (strangers.hour < 8) | (strangers.hour >= 23)
    fresh = strangers.features[:, CYCLIC] < 86_400.0
    groups = {"night": night, "day": ~night, "first_day": fresh, "later_days": ~fresh}
    return [
        Figure(
            name=f"log_loss_{name}",
            value=float(own[some].mean()),
            note=f"subgroup, {int(some.sum())} person-hours, {int(strangers.label[some].sum())} acts",
        )
        for name, some in groups.items()
        if some.any()
    ]


def _card(found: Sequence[Figure], known: Spells, strangers: Spells, options: Options) -> Card:
    return Card(
        data=(
            f"Interactions with times: spells between sittings (a sitting ends after {spells.SITTING_S // 60} minutes "
            f"of quiet), cut at {spells.HORIZON_H} hours; {len(known.label)} person-hours to learn from."
        ),
        protocol=(
            f"People are split, seven to three; measured on {len(np.unique(strangers.person))} people never learned "
            f"from, seed {options.seed}, {options.epochs or TRAIN.epochs} epochs. Intervals resample people. Hours are "
            f"those of the file's clock (UTC), on a device they are local."
        ),
        figures=tuple(found),
        intended_use="Choosing when to speak, under quiet hours and frequency caps, which always come first.",
        limits=(
            "It says when people act by themselves, not when they like to be addressed; feedback on messages must "
            "correct it. Training counts windows exactly, the device in buckets. Not for finding out who is at home."
        ),
    )
