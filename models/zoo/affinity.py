"""How much one person likes each item: shared item embeddings, a personal vector.

The split of PFedRec (Zhang et al. 2023): what items are like is learned together, what a person likes stays
with that person. With the initial personal vector the order is close to popularity, so a new device starts
sensibly.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import baselines, datasets, evaluate, ranking
from models.architecture import Architecture, Rows, Tensor
from models.build import Draft, Options, rounded, rows_of
from models.card import Card, Figure
from models.datasets import Impression, Rating
from models.errors import DatasetInvalid
from models.ranking import History, Schedule
from models.session import Predictor, TrainStep
from models.spec import Calibration, Input, Train

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
DIMENSIONS = 16
PERSONAL = ("user_vector", "user_bias")
NEGATIVES_RANKED = 99
REFIT_PEOPLE_MAX = 200


def forward(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    """Logit of "this person touches this item", (n,)."""
    item = x["item"]
    return p["item_embedding"][item] @ p["user_vector"] + p["item_bias"][item] + p["user_bias"]


ARCHITECTURE = Architecture(
    name="affinity",
    task="rank",
    parameters=(
        Tensor(name="item_embedding", shape=("items", DIMENSIONS), share="shared", step=2.0),
        Tensor(name="item_bias", shape=("items",), share="shared", step=2.0),
        Tensor(name="user_vector", shape=(DIMENSIONS,), share="personal", decay=0.003),
        Tensor(name="user_bias", shape=(1,), share="personal"),
    ),
    inputs=(Rows(name="item", dtype="int64"),),
    forward=forward,
)
# Found on a validation item (the last but one of each person), not on the held-out ones.
BUILD = Schedule(lr=2.0, epochs=16, batch=64, negatives=4)
TRAIN = Train(loss="bce", lr=1.0, batch=64, epochs=8, negatives=4)
DEVICE = Schedule(lr=TRAIN.lr, epochs=TRAIN.epochs, batch=TRAIN.batch, negatives=TRAIN.negatives)


def build(options: Options) -> Draft:
    """From the ratings that were given, or else from the clicks of the Open Bandit log."""
    if options.ratings is None:
        return _from_clicks(options)
    return _from_ratings(options, datasets.read_ratings(options.ratings))


def measure(weights: Mapping[str, F32], options: Options) -> float:
    """In percent: area under the curve of clicks; with ratings, the hit rate at 10 after learning as on a device."""
    predict = Predictor(options.graph("affinity", "predict.onnx"))
    if options.ratings is None:
        log, test = datasets.read_open_bandit("bts"), datasets.read_open_bandit("random")
        catalogue = sorted({row.item for row in log}, key=ranking.item_order)
        item, label = _impressions(test, {name: row for row, name in enumerate(catalogue)})
        return 100.0 * evaluate.auc(predict(weights, {"item": item}), label)
    rows = datasets.read_ratings(options.ratings)
    people = ranking.histories(rows, sorted({row.item for row in rows}, key=ranking.item_order))
    step = TrainStep(options.graph("affinity", "train_step.onnx"))
    figures = _alone("", step, predict, weights, people[:: max(1, len(people) // REFIT_PEOPLE_MAX)], options.seed)
    return 100.0 * next(figure.value for figure in figures if figure.name == "hr10")


def _from_ratings(options: Options, rows: Sequence[Rating]) -> Draft:
    catalogue = tuple(sorted({row.item for row in rows}, key=ranking.item_order))
    everyone = ranking.histories(rows, catalogue)
    known = [one for one in everyone if options.learns_from(one.user)]
    strangers = [one for one in everyone if one.user in options.exclude_users]
    if not known:
        raise DatasetInvalid(
            "nobody with two interactions is left to learn from",
            hint="check --users and --exclude-users against the file",
        )
    dice = np.random.default_rng(options.seed)
    step, predict = (
        TrainStep(options.graph("affinity", "train_step.onnx")),
        Predictor(options.graph("affinity", "predict.onnx")),
    )
    schedule = Schedule(
        lr=BUILD.lr, epochs=options.epochs or BUILD.epochs, batch=BUILD.batch, negatives=BUILD.negatives
    )
    shared, own = ranking.fit(step, _start(len(catalogue), dice), PERSONAL, known, schedule, dice)
    typical = {
        name: np.asarray(np.mean([one[name] for one in own.values()], axis=0, dtype=np.float64), np.float32)
        for name in PERSONAL
    }
    weights = {**shared, **typical}
    measured = _ranked(step, predict, weights, own, known, strangers, options.seed)
    return _draft(
        weights,
        catalogue,
        options.licence or "as the ratings that were given; ask whoever gave them",
        Card(
            data=(
                f"{len(rows)} interactions of {len(everyone)} people with {len(catalogue)} items; "
                f"{len(known)} people were learned from."
            ),
            protocol=(
                f"Leave one out: each person's newest item against {NEGATIVES_RANKED} sampled items that the "
                f"person never touched, "
                f"first 10, seed {options.seed}; ties count as misses. Every interaction is a positive. "
                f"{schedule.epochs} epochs."
            ),
            figures=measured,
            intended_use="Ordering candidates for one person, next to rules and a policy that explores.",
            limits=("New items have no embedding until the next build. Popular items are favoured; see the subgroups."),
        ),
    )


def _start(items: int, dice: np.random.Generator) -> dict[str, F32]:
    return {
        "item_embedding": dice.normal(0.0, 0.3, (items, DIMENSIONS)).astype(np.float32),
        "item_bias": np.zeros(items, np.float32),
        "user_vector": np.zeros(DIMENSIONS, np.float32),
        "user_bias": np.zeros(1, np.float32),
    }


def _ranked(
    step: TrainStep,
    predict: Predictor,
    weights: Mapping[str, F32],
    own: Mapping[str, Mapping[str, F32]],
    known: Sequence[History],
    strangers: Sequence[History],
    seed: int,
) -> tuple[Figure, ...]:
    items = len(weights["item_bias"])
    rows = ranking.candidates(known, items, NEGATIVES_RANKED, seed)
    popular = baselines.popularity(np.concatenate([one.lived for one in known]), items)
    together = evaluate.ranks(ranking.scores(predict, weights, own, known, rows))
    figures = [
        *_pair("", together, f"{len(known)} people, personal part trained along"),
        *_pair("_popularity", evaluate.ranks(popular[rows]), "baseline: most touched items"),
        *_activity(together, known),
    ]
    for label, some in (
        ("_on_device", known[:: max(1, len(known) // REFIT_PEOPLE_MAX)]),
        ("_strangers", strangers),
    ):
        if some:
            figures += _alone(label, step, predict, weights, some, seed)
    return tuple(figures)


def _alone(
    label: str,
    step: TrainStep,
    predict: Predictor,
    weights: Mapping[str, F32],
    people: Sequence[History],
    seed: int,
) -> list[Figure]:
    """Before and after the personal part alone is trained from its start, as on a device."""
    dice = np.random.default_rng(seed)
    rows = ranking.candidates(people, len(weights["item_bias"]), NEGATIVES_RANKED, seed)
    start = {one.user: {name: weights[name] for name in PERSONAL} for one in people}
    own = {one.user: ranking.personalise(step, weights, PERSONAL, one, DEVICE, dice) for one in people}
    before, after = (evaluate.ranks(ranking.scores(predict, weights, some, people, rows)) for some in (start, own))
    return [
        *_pair(f"{label}_before", before, f"{len(people)} people, initial personal part"),
        *_pair(label, after, f"{len(people)} people, personal part trained from its start as on a device"),
    ]


def _pair(label: str, rank: I64, note: str) -> list[Figure]:
    return [
        Figure(name=f"hr10{label}", value=evaluate.hit_rate(rank), note=note),
        Figure(name=f"ndcg10{label}", value=evaluate.ndcg(rank), note=note),
    ]


def _activity(rank: I64, people: Sequence[History]) -> list[Figure]:
    """Hit rate by how much a person did: thirds by number of interactions."""
    counts = np.array([len(one.lived) for one in people])
    low, high = np.quantile(counts, [1 / 3, 2 / 3])
    groups = {"light": counts <= low, "medium": (counts > low) & (counts <= high), "heavy": counts > high}
    return [
        Figure(
            name=f"hr10_{name}_users",
            value=evaluate.hit_rate(rank[some]),
            note=f"subgroup, {int(some.sum())} people",
        )
        for name, some in groups.items()
        if some.any()
    ]


def _from_clicks(options: Options) -> Draft:
    """Clicks are 1, impressions without a click 0; the log names no people."""
    log, test = datasets.read_open_bandit("bts"), datasets.read_open_bandit("random")
    catalogue = tuple(sorted({row.item for row in log}, key=ranking.item_order))
    index = {item: row for row, item in enumerate(catalogue)}
    dice = np.random.default_rng(options.seed)
    step, predict = (
        TrainStep(options.graph("affinity", "train_step.onnx")),
        Predictor(options.graph("affinity", "predict.onnx")),
    )
    weights = _start(len(catalogue), dice)
    item, label = _impressions(log, index)
    weights["user_bias"] = np.array([np.log(label.mean() / (1.0 - label.mean()))], np.float32)
    for epoch in range(options.epochs or BUILD.epochs):
        for rows in rows_of(len(label), 256, dice):
            after, _ = step(weights, {"item": item[rows]}, label[rows], 0.5 * (1.0 - epoch / BUILD.epochs))
            weights = {**after, "user_vector": weights["user_vector"]}
    test_item, test_label = _impressions(test, index)
    score = predict(weights, {"item": test_item})
    low, high = evaluate.interval(evaluate.auc, score, test_label, options.seed)
    rate = baselines.smoothed_rate(item, label, len(catalogue))
    figures = (
        Figure(
            name="auc",
            value=evaluate.auc(score, test_label),
            note=f"95 % interval {rounded(low)} to {rounded(high)}; {int(test_label.sum())} clicks",
        ),
        Figure(
            name="auc_item_rate",
            value=evaluate.auc(rate[test_item], test_label),
            note="baseline: smoothed click rate of the item",
        ),
    )
    return _draft(weights, catalogue, "CC-BY-4.0", _clicks_card(figures, len(log)))


def _clicks_card(figures: tuple[Figure, ...], rows: int) -> Card:
    return Card(
        data=(
            "Open Bandit Dataset, small, campaign men, ZOZO, Inc. Saito, Aihara, Matsutani, Narita, 2020. "
            "CC BY 4.0. 34 items."
        ),
        protocol=(
            f"Trained on the log of the Thompson policy ({rows} impressions), measured on the uniform log "
            f"of the same week."
        ),
        figures=figures,
        intended_use=(
            "A small catalogue to start a shop kiosk and to try the whole flow; train your own with --ratings."
        ),
        limits=(
            "The log names no people, so the personal part is untrained and the embeddings carry no taste: "
            "the order is that of "
            "the items' click rates, and with so few clicks the interval includes chance."
        ),
    )


def _impressions(log: Sequence[Impression], index: Mapping[str, int]) -> tuple[I64, F32]:
    item = np.array([index[row.item] for row in log], np.int64)
    return item, np.array([row.click for row in log], np.float32)


def _draft(weights: dict[str, F32], catalogue: tuple[str, ...], licence: str, card: Card) -> Draft:
    example = np.arange(min(16, len(catalogue)), dtype=np.int64)
    return Draft(
        architecture=ARCHITECTURE,
        summary="How much one person likes each item of a catalogue",
        licence=licence,
        weights=weights,
        inputs=(Input(name="item", dtype="int64", shape=(-1,), from_="candidate"),),
        train=TRAIN,
        calibration=Calibration(),
        catalogue=catalogue,
        example={"item": example},
        label=(example % 3 == 0).astype(np.float32),
        card=card,
    )
