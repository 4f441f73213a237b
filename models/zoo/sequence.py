"""What the two sequence models share: rows from histories, training, baselines, and the leave-one-out measurement."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models import baselines, datasets, evaluate, ranking
from models.architecture import Architecture
from models.build import Draft, Options, rounded, rows_of
from models.card import Card, Figure
from models.errors import DatasetInvalid
from models.ranking import History
from models.session import Predictor, TrainStep
from models.spec import Calibration, Input, ItemSequence, Train

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
DIMENSIONS = 32
LENGTH = 10
NEGATIVES_RANKED = 99
FIELD = "item"
"""The profile's field whose values are items."""
# Found on a validation item (the last but one of each person), not on the held-out ones.
TRAIN = Train(loss="bce", optimiser="adam", lr=0.003, batch=512, epochs=8, negatives=4)


def build(architecture: Architecture, options: Options) -> Draft:
    """Train on everybody's interactions but the newest, measure on the newest.

    Raises:
        DatasetInvalid: no interactions were given, or nobody has two.
    """
    rows = datasets.read_ratings(options.given(architecture.name))
    catalogue = tuple(sorted({row.item for row in rows}, key=ranking.item_order))
    everyone = ranking.histories(rows, catalogue)
    people = [one for one in everyone if options.learns_from(one.user)]
    if not people:
        raise DatasetInvalid("nobody with two interactions is left to learn from", hint="check --users and the file")
    dice = np.random.default_rng(options.seed)
    step = TrainStep(options.graph(architecture.name, "train_step.onnx"))
    weights = train(step, start(architecture, len(catalogue), dice), people, options.epochs or TRAIN.epochs, dice)
    predict = Predictor(options.graph(architecture.name, "predict.onnx"))
    example, label = _rows(people[0], len(catalogue), 1, np.random.default_rng(options.seed))
    return Draft(
        architecture=architecture,
        summary="Which item a subject touches next, from the last ones",
        licence=options.licence or "as the ratings that were given; ask whoever gave them",
        weights=weights,
        inputs=inputs(),
        needed_fields=(FIELD,),
        train=TRAIN,
        calibration=Calibration(),
        catalogue=catalogue,
        example={name: values[:16] for name, values in example.items()},
        label=label[:16],
        card=_card(_figures(predict, weights, people, options.seed), len(rows), len(people), options),
    )


def measure(architecture: Architecture, weights: Mapping[str, F32], options: Options) -> float:
    """Hit rate at 10 of everybody's newest item among sampled ones, in percent."""
    rows = datasets.read_ratings(options.given(architecture.name))
    people = ranking.histories(rows, sorted({row.item for row in rows}, key=ranking.item_order))
    candidates = ranking.candidates(people, len(weights["item_bias"]), NEGATIVES_RANKED, options.seed)
    predict = Predictor(options.graph(architecture.name, "predict.onnx"))
    return 100.0 * evaluate.hit_rate(evaluate.ranks(_scores(predict, weights, people, candidates)))


def inputs() -> tuple[Input, ...]:
    """As devices make them: the last items of the subject, the same for every candidate."""
    recent = (ItemSequence(field=FIELD, length=LENGTH),)
    return (
        Input(name="recent", dtype="float32", shape=(-1, LENGTH), from_="features", features=recent),
        Input(name="item", dtype="int64", shape=(-1,), from_="candidate"),
    )


def start(architecture: Architecture, items: int, dice: np.random.Generator) -> dict[str, F32]:
    """Initial weights: scales are one, biases zero, tables and matrices small and random."""
    weights: dict[str, F32] = {}
    for tensor in architecture.parameters:
        shape = tuple(items if isinstance(side, str) else side for side in tensor.shape)
        if tensor.name.endswith("_scale"):
            weights[tensor.name] = np.ones(shape, np.float32)
        elif tensor.name.endswith("bias"):
            weights[tensor.name] = np.zeros(shape, np.float32)
        else:
            spread = 0.1 if tensor.name.endswith("_embedding") else shape[-2] ** -0.5
            weights[tensor.name] = dice.normal(0.0, spread, shape).astype(np.float32)
    return weights


def before(lived: I64, at: int) -> F32:
    """The `sequence` feature as it stood before the interaction `at`: float32 (LENGTH,), rows plus 1, newest last."""
    row = np.zeros(LENGTH, np.float32)
    seen = lived[max(0, at - LENGTH) : at]
    if len(seen):
        row[-len(seen) :] = seen + 1
    return row


def _rows(
    history: History, items: int, negatives: int, dice: np.random.Generator
) -> tuple[dict[str, NDArray[np.generic]], F32]:
    """Every interaction of one person as a positive, each with `negatives` untouched items from the same history."""
    untouched = np.setdiff1d(np.arange(items), history.lived)
    recent = np.array([before(history.lived, at) for at in range(len(history.lived))], np.float32)
    drawn = dice.choice(untouched, (len(recent), negatives)) if len(untouched) else np.zeros((len(recent), 0), np.int64)
    item = np.column_stack([history.lived, drawn])
    label = np.zeros(item.shape, np.float32)
    label[:, 0] = 1.0
    found: dict[str, NDArray[np.generic]] = {
        "recent": np.repeat(recent, item.shape[1], axis=0),
        "item": item.reshape(-1).astype(np.int64),
    }
    return found, label.reshape(-1)


def train(
    step: TrainStep, weights: Mapping[str, F32], people: Sequence[History], epochs: int, dice: np.random.Generator
) -> dict[str, F32]:
    """Weights after `epochs` over everybody's rows, shuffled, with fresh negatives; the learning rate falls to 0."""
    items, now = len(weights["item_bias"]), dict(weights)
    for epoch in range(epochs):
        parts = [_rows(one, items, TRAIN.negatives, dice) for one in people]
        columns = {name: np.concatenate([found[name] for found, _ in parts]) for name in ("recent", "item")}
        label = np.concatenate([own for _, own in parts])
        for rows in rows_of(len(label), TRAIN.batch, dice):
            some = {name: values[rows] for name, values in columns.items()}
            now, _ = step(now, some, label[rows], TRAIN.lr * (1.0 - epoch / epochs))
    return {name: now[name] for name in weights}


def _figures(
    predict: Predictor, weights: Mapping[str, F32], people: Sequence[History], seed: int
) -> tuple[Figure, ...]:
    items = len(weights["item_bias"])
    rows = ranking.candidates(people, items, NEGATIVES_RANKED, seed)
    score = _scores(predict, weights, people, rows)
    popular = baselines.popularity(np.concatenate([one.lived for one in people]), items)
    follows = baselines.follows([one.lived for one in people], items, LENGTH)
    alike = baselines.item_cosine([one.lived for one in people], items)
    own = evaluate.ranks(score)
    others = {
        "popularity": ("most touched items", evaluate.ranks(popular[rows])),
        "last_item": (
            f"how often an item came within {LENGTH} after the newest one, ties by popularity",
            evaluate.ranks(_after_last(follows, popular, people, rows)),
        ),
        "item_knn": (
            "cosine of co-occurrence with everything that the person touched",
            evaluate.ranks(np.array([alike[row][:, one.lived].sum(1) for one, row in zip(people, rows, strict=True)])),
        ),
    }
    figures = [*_pair("", own, f"{len(people)} people", seed), *_activity(own, people)]
    for name, (what, rank) in others.items():
        figures += _pair(f"_{name}", rank, f"baseline: {what}", seed)
        low, high = evaluate.interval(_gain, own.astype(float), rank.astype(float), seed)
        figures.append(
            Figure(
                name=f"hr10_gain_over_{name}",
                value=evaluate.hit_rate(own) - evaluate.hit_rate(rank),
                note=f"the same people paired, 95 % interval {rounded(low)} to {rounded(high)}",
            )
        )
    return tuple(figures)


def _scores(predict: Predictor, weights: Mapping[str, F32], people: Sequence[History], rows: I64) -> F32:
    return np.array(
        [
            predict(weights, {"recent": before(one.lived, len(one.lived))[None], "item": row})
            for one, row in zip(people, rows, strict=True)
        ],
        np.float32,
    )


def _gain(own: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    return float((own < 10).mean() - (other < 10).mean())


def _after_last(follows: F32, popular: F32, people: Sequence[History], rows: I64) -> F32:
    last = np.array([one.lived[-1] for one in people])
    return np.asarray(follows[last[:, None], rows] + 1e-6 * popular[rows], np.float32)


def _pair(label: str, rank: I64, note: str, seed: int) -> list[Figure]:
    low, high = evaluate.interval(lambda r, _: float((r < 10).mean()), rank.astype(float), rank.astype(float), seed)
    return [
        Figure(
            name=f"hr10{label}",
            value=evaluate.hit_rate(rank),
            note=f"{note}; 95 % interval {rounded(low)} to {rounded(high)}",
        ),
        Figure(name=f"ndcg10{label}", value=evaluate.ndcg(rank), note=note),
    ]


def _activity(rank: I64, people: Sequence[History]) -> list[Figure]:
    counts = np.array([len(one.lived) for one in people])
    low, high = np.quantile(counts, [1 / 3, 2 / 3])
    groups = {"light": counts <= low, "medium": (counts > low) & (counts <= high), "heavy": counts > high}
    return [
        Figure(
            name=f"hr10_{name}_users", value=evaluate.hit_rate(rank[some]), note=f"subgroup, {int(some.sum())} people"
        )
        for name, some in groups.items()
        if some.any()
    ]


def _card(figures: tuple[Figure, ...], rows: int, people: int, options: Options) -> Card:
    return Card(
        data=f"{rows} interactions; {people} people were learned from.",
        protocol=(
            f"Leave one out: each person's newest item against {NEGATIVES_RANKED} sampled items that the person never "
            f"touched, first 10, seed {options.seed}; ties count as misses. The last {LENGTH} items are what the model "
            f"sees. {options.epochs or TRAIN.epochs} epochs."
        ),
        figures=figures,
        intended_use="Proposing what comes next to one subject, next to rules and a policy that explores.",
        limits=(
            "ONNX only: the catalogue's size stays open, and TFLite signatures take fixed parameter shapes. New items "
            "have no embedding until the next build. Items that a person touched before were never negatives, so the "
            "model does not know to rank them low: leave them out of the candidates where they cannot come again. "
            "Sampled candidates flatter every method: compare within the table only."
        ),
    )
