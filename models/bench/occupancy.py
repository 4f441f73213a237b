"""`edge-models bench occupancy`: the zoo's `context` on later days, beside logistic regression and gradient boosting.

The references are scikit-learn's, at its defaults, on the same four columns and the same rows.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import datasets, evaluate, intervals
from models.build import Options, zoo_module
from models.errors import BuildUnavailable
from models.intervals import Estimate
from models.session import Predictor
from models.zoo.context import FIELDS

F32 = NDArray[np.float32]

PROTOCOL = (
    "UCI Occupancy Detection: trained on datatraining.txt (8,143 rows), measured on datatest.txt (2,665 rows of other "
    "days); temperature, humidity, light and CO2, without HumidityRatio, which follows from two of them. Threshold one "
    "half. A seed starts the network's weights and order of rows, and gradient boosting's bins; logistic regression "
    "has no randomness. Intervals are over rows, which are a minute apart and so not independent: read them as the "
    "least that is uncertain. Nothing was chosen on datatest.txt."
)
NAMES = ("context (edgeward)", "logistic regression", "gradient boosting")


class Row(Struct, frozen=True, kw_only=True):
    """One model: percent for accuracy and F1, means over seeds, with the sample standard deviation."""

    name: str
    accuracy: float
    accuracy_sd: float
    f1: float
    f1_sd: float
    auc: float
    log_loss: float
    """Nats."""
    ece: float
    accuracy_low: float
    """Wilson interval of the first seed, percent."""
    accuracy_high: float


class Report(Struct, frozen=True, kw_only=True):
    """What `--json` prints. Percent; differences in points, paired over rows, first seed."""

    accuracy: float
    accuracy_sd: float
    f1: float
    f1_sd: float
    protocol: str
    seeds: tuple[int, ...]
    table: tuple[Row, ...]
    gain: dict[str, Estimate]
    """Reference → accuracy of `context` minus the reference's."""


def run(seeds: Sequence[int]) -> Report:
    """Train all three and measure.

    Raises:
        BuildUnavailable: scikit-learn is not installed.
        DatasetInvalid: the data was not found.
    """
    x, y = columns("training")
    test_x, test_y = columns("test")
    found: dict[str, list[F32]] = {name: [] for name in NAMES}
    for seed in seeds:
        found[NAMES[0]].append(_context(seed, test_x))
        for name, fitted in _references(x, y, test_x, seed).items():
            found[name].append(fitted)
    table = tuple(_row(name, scores, test_y) for name, scores in found.items())
    right = {name: ((scores[0] >= 0.5) == (test_y > 0.5)).astype(np.float64) for name, scores in found.items()}
    own = table[0]
    return Report(
        accuracy=own.accuracy,
        accuracy_sd=own.accuracy_sd,
        f1=own.f1,
        f1_sd=own.f1_sd,
        protocol=PROTOCOL,
        seeds=tuple(seeds),
        table=table,
        gain={name: intervals.paired(100 * right[NAMES[0]], 100 * right[name], seed=0) for name in NAMES[1:]},
    )


def columns(split: str) -> tuple[F32, F32]:
    """Readings (n, 4) and whether the room was occupied (n,)."""
    rows = datasets.read_occupancy("training" if split == "training" else "test")
    x = np.array([[getattr(row, field) for field in FIELDS] for row in rows], np.float32)
    return x, np.array([row.occupied for row in rows], np.float32)


def _context(seed: int, test_x: F32) -> F32:
    options = Options(seed=seed)
    draft = zoo_module("context").build(options)
    return Predictor(options.graph("context", "predict.onnx"))(draft.weights, {"features": test_x})


def _references(x: F32, y: F32, test_x: F32, seed: int) -> Mapping[str, F32]:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise BuildUnavailable(
            "the references need scikit-learn", hint="pip install 'edgeward[bench]' (devices never need it)"
        ) from error
    models = (
        make_pipeline(StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(random_state=seed),
    )
    return {
        name: np.asarray(model.fit(x, y).predict_proba(test_x)[:, 1], np.float32)
        for name, model in zip(NAMES[1:], models, strict=True)
    }


def _row(name: str, scores: Sequence[F32], label: F32) -> Row:
    def over(measure: Callable[[F32, F32], float], scale: float = 1.0) -> NDArray[np.float64]:
        return np.array([scale * measure(score, label) for score in scores])

    right, gain = over(evaluate.accuracy, 100.0), over(evaluate.f1, 100.0)
    hits = intervals.wilson(float(((scores[0] >= 0.5) == (label > 0.5)).sum()), len(label))
    spread = [float(np.std(values, ddof=1)) if len(scores) > 1 else 0.0 for values in (right, gain)]
    return Row(
        name=name,
        accuracy=float(right.mean()),
        accuracy_sd=spread[0],
        f1=float(gain.mean()),
        f1_sd=spread[1],
        auc=float(over(evaluate.auc).mean()),
        log_loss=float(over(evaluate.log_loss).mean()),
        ece=float(over(evaluate.ece).mean()),
        accuracy_low=100.0 * hits.low,
        accuracy_high=100.0 * hits.high,
    )
