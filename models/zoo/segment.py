"""Which regime is this? Online k-means, moved one example at a time on the device.

MacQueen 1967, "Some Methods for Classification and Analysis of Multivariate Observations": the nearest centre takes a
step towards the example. The score of a centre is minus half its squared distance, so the best candidate is the
nearest, and one step of gradient descent on `distance` with label 1 is exactly MacQueen's. The centres are personal:
each device moves its own, and none leave it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import datasets, evaluate
from models.architecture import Architecture, Rows, Tensor
from models.build import Draft, Options, rounded
from models.card import Card, Figure
from models.elementwise import rows_at, total
from models.session import TrainStep
from models.spec import Calibration, Input, Last, Train

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
FIELDS = ("temperature", "humidity", "light", "co2")
CENTRES = 8
BLOCK = 60
"""Rows, so minutes, that are drawn together for intervals: neighbours are alike."""
TRAIN = Train(loss="distance", lr=0.02, batch=1, epochs=1)


def forward(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    """Minus half the squared distance to the candidate centre, in standard deviations, (n,)."""
    away = (x["features"] - p["mean"]) * p["scale"] - rows_at(p["centre"], x["segment"])  # (n, 4)
    return total(away * away) * -0.5


ARCHITECTURE = Architecture(
    name="segment",
    task="rank",
    parameters=(
        Tensor(name="centre", shape=(CENTRES, len(FIELDS)), share="personal"),
        Tensor(name="mean", shape=(len(FIELDS),), share="shared", step=0.0),
        Tensor(name="scale", shape=(len(FIELDS),), share="shared", step=0.0),
    ),
    inputs=(
        Rows(name="features", dtype="float32", columns=len(FIELDS)),
        Rows(name="segment", dtype="int64"),
    ),
    forward=forward,
    loss="distance",
    tflite=True,
)


def build(options: Options) -> Draft:
    """Centres from the training days, measured on later days: as they are, and moving along."""
    x, _ = arrays("training")
    test_x, occupied = arrays("test")
    dice = np.random.default_rng(options.seed)
    step = TrainStep(options.graph("segment", "train_step.onnx"))
    weights = train(step, x, options.epochs or TRAIN.epochs, dice)
    some = test_x[:: len(test_x) // CENTRES][:CENTRES]
    return Draft(
        architecture=ARCHITECTURE,
        summary="The regime that a room is in, from temperature, humidity, light and CO2",
        licence="CC-BY-4.0",
        weights=weights,
        inputs=(
            Input(
                name="features",
                dtype="float32",
                shape=(-1, len(FIELDS)),
                from_="features",
                features=tuple(Last(field=field) for field in FIELDS),
            ),
            Input(name="segment", dtype="int64", shape=(-1,), from_="candidate"),
        ),
        needed_fields=FIELDS,
        train=TRAIN,
        calibration=Calibration(),
        catalogue=tuple(f"segment-{number}" for number in range(CENTRES)),
        example={"features": some, "segment": np.arange(len(some), dtype=np.int64)},
        label=np.ones(len(some), np.float32),
        card=_card(_figures(step, weights, x, test_x, occupied, options.seed), len(x), len(test_x)),
    )


def measure(weights: Mapping[str, F32], _options: Options) -> float:
    """Inertia of the centres as they are on the test days, in percent of a single centre's, taken from 100."""
    x, _ = arrays("test")
    single = distances({**weights, "centre": np.zeros((1, len(FIELDS)), np.float32)}, x)[:, 0]
    return 100.0 - 100.0 * float(distances(weights, x).min(1).mean() / single.mean())


def arrays(split: datasets.Split) -> tuple[F32, F32]:
    """Readings (n, 4) and whether someone was there (n,)."""
    rows = datasets.read_occupancy(split)
    x = np.array([[getattr(row, field) for field in FIELDS] for row in rows], np.float32)
    return x, np.array([row.occupied for row in rows], np.float32)


def train(step: TrainStep, x: F32, epochs: int, dice: np.random.Generator) -> dict[str, F32]:
    """Centres spread by k-means++ (Arthur and Vassilvitskii 2007), then moved example by example, as on a device.

    The step size falls with the number of examples seen; centres come out ordered by light.
    """
    mean = x.mean(0, dtype=np.float64).astype(np.float32)
    scale = (1.0 / x.std(0, dtype=np.float64)).astype(np.float32)
    weights: dict[str, F32] = {"centre": _spread((x - mean) * scale, dice), "mean": mean, "scale": scale}
    seen = 0
    for _ in range(epochs):
        for row in dice.permutation(len(x)):
            weights = moved(step, weights, x[row], max(TRAIN.lr, 1.0 / (1.0 + seen / CENTRES)))
            seen += 1
    order = np.argsort(weights["centre"][:, FIELDS.index("light")], kind="stable")
    return {**weights, "centre": weights["centre"][order]}


def moved(step: TrainStep, weights: Mapping[str, F32], row: F32, lr: float) -> dict[str, F32]:
    """The weights after one example (4,): its nearest centre took a step of `lr` towards it."""
    nearest = np.array([np.argmin(distances(weights, row[None])[0])], np.int64)
    inputs: dict[str, NDArray[np.generic]] = {"features": row[None], "segment": nearest}
    after, _ = step(weights, inputs, np.ones(1, np.float32), lr)
    return after


def distances(weights: Mapping[str, F32], x: F32) -> F32:
    """Squared distance of each row to each centre, (n, CENTRES); what `predict.onnx` scores, for many rows at once."""
    z = (x - weights["mean"]) * weights["scale"]
    return np.asarray(((z[:, None, :] - weights["centre"][None]) ** 2).sum(-1), np.float32)


def _spread(z: F32, dice: np.random.Generator) -> F32:
    centres = [z[dice.integers(len(z))]]
    while len(centres) < CENTRES:
        nearest = ((z[:, None, :] - np.array(centres)[None]) ** 2).sum(-1).min(1)
        centres.append(z[dice.choice(len(z), p=nearest / nearest.sum())])
    return np.array(centres, np.float32)


def _figures(
    step: TrainStep, weights: dict[str, F32], x: F32, test_x: F32, occupied: F32, seed: int
) -> tuple[Figure, ...]:
    frozen = distances(weights, test_x).min(1)
    along = _along(step, weights, test_x)
    one = distances({**weights, "centre": np.zeros((1, len(FIELDS)), np.float32)}, test_x)[:, 0]
    dice = np.random.default_rng(seed)
    standard = (x - weights["mean"]) * weights["scale"]
    picks = [standard[dice.choice(len(x), CENTRES, replace=False)] for _ in range(20)]
    chance = np.mean([distances({**weights, "centre": pick}, test_x).min(1) for pick in picks], axis=0)
    batch = distances({**weights, "centre": _lloyd(standard, weights["centre"])}, test_x).min(1)
    found = [
        _inertia("inertia", frozen, "squared distance to the nearest centre, standard deviations; centres as built"),
        _inertia("inertia_moving", along, "the same, each example scored first, then learned from, as on a device"),
        _inertia("inertia_one_cluster", one, "baseline: a single centre"),
        _inertia("inertia_random_rows", chance, f"baseline: {CENTRES} training rows as centres, mean of 20 draws"),
        _inertia("inertia_batch_kmeans", batch, "reference: Lloyd's algorithm over all training rows at once"),
    ]
    for name, other, own in (
        ("one_cluster", one, along),
        ("random_rows", chance, along),
        ("standing_still", frozen, along),
    ):
        low, high = interval_by_block(other - own, seed)
        found.append(
            Figure(
                name=f"gain_over_{name}",
                value=float((other - own).mean()),
                note=f"moving centres, 95 % interval, blocks of {BLOCK} minutes: {rounded(low)} to {rounded(high)}",
            )
        )
    return (*found, *_lift(weights, x, test_x, occupied, along))


def _inertia(name: str, value: NDArray[np.floating], note: str) -> Figure:
    return Figure(name=name, value=float(value.mean()), note=note)


def _along(step: TrainStep, weights: dict[str, F32], x: F32) -> NDArray[np.float32]:
    found, now = np.empty(len(x), np.float32), dict(weights)
    for row in range(len(x)):
        found[row] = distances(now, x[row : row + 1]).min()
        now = moved(step, now, x[row], TRAIN.lr)
    return found


def _lloyd(z: F32, centres: F32, rounds: int = 30) -> F32:
    now = centres.copy()
    for _ in range(rounds):
        nearest = ((z[:, None, :] - now[None]) ** 2).sum(-1).argmin(1)
        now = np.array([z[nearest == k].mean(0) if (nearest == k).any() else now[k] for k in range(len(now))])
    return np.asarray(now, np.float32)


def interval_by_block(value: NDArray[np.floating], seed: int, samples: int = 400) -> tuple[float, float]:
    """95 % moving-block bootstrap interval of the mean. Source: Künsch 1989, "The Jackknife and the Bootstrap ..."."""
    dice = np.random.default_rng(seed)
    blocks = max(1, len(value) // BLOCK)
    starts = dice.integers(0, max(1, len(value) - BLOCK + 1), (samples, blocks))
    sums = np.concatenate([[0.0], np.cumsum(value, dtype=np.float64)])
    ends = np.minimum(starts + BLOCK, len(value))
    low, high = np.percentile((sums[ends] - sums[starts]).sum(1) / (ends - starts).sum(1), [2.5, 97.5])
    return float(low), float(high)


def _lift(weights: Mapping[str, F32], x: F32, test_x: F32, occupied: F32, along: NDArray[np.float32]) -> list[Figure]:
    """What knowing the segment alone is worth for occupancy, and the inertia of both kinds of minutes."""
    _, y = arrays("training")
    nearest, test_nearest = (distances(weights, rows).argmin(1) for rows in (x, test_x))
    rate = np.array([(y[nearest == k].sum() + y.mean()) / ((nearest == k).sum() + 1.0) for k in range(CENTRES)])
    constant = np.full(len(occupied), y.mean())
    there = occupied > 0.5
    return [
        Figure(
            name="occupancy_accuracy_by_segment",
            value=evaluate.accuracy(rate[test_nearest], occupied),
            note="downstream: each segment says what was commoner in it on the training days",
        ),
        Figure(
            name="occupancy_accuracy_majority", value=evaluate.accuracy(constant, occupied), note="without the segment"
        ),
        Figure(
            name="inertia_occupied",
            value=float(along[there].mean()),
            note=f"subgroup, {int(there.sum())} minutes, moving",
        ),
        Figure(
            name="inertia_empty",
            value=float(along[~there].mean()),
            note=f"subgroup, {int((~there).sum())} minutes, moving",
        ),
    ]


def _card(figures: tuple[Figure, ...], rows: int, test_rows: int) -> Card:
    return Card(
        data=(
            "UCI Occupancy Detection: one office in Belgium, one row a minute, February 2015. Candanedo and Feldheim, "
            "Energy and Buildings 112, 2016. CC BY 4.0."
        ),
        protocol=(
            f"Centres from datatraining ({rows} rows, one example at a time), measured on datatest ({test_rows} rows "
            f"of other days). Nothing is labelled; occupancy is only looked at afterwards."
        ),
        figures=figures,
        intended_use="A coarse name for the state of a room, as context for rules and bandits.",
        limits=(
            "Segments have numbers, not meanings, and move with the device: segment-3 here is not segment-3 there. "
            "Neighbouring minutes are alike, so centres that move profit from the last ones; the gain over standing "
            "still is that of following a room, not of knowing it better. One office; start again elsewhere."
        ),
    )
