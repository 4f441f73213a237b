"""Two bundles side by side on the same rows or people, with intervals of the differences."""

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import evaluate, held_out, intervals, splits
from models.bundle import Bundle
from models.datasets import read_ratings
from models.errors import SpecInvalid
from models.golden import predict_inputs, read_golden
from models.intervals import Estimate
from models.session import Predictor
from models.splits import Question

F64 = NDArray[np.float64]
NEGATIVES = 99
_CALLS = 200
"""Predictions that are timed, after as many to warm up."""


class Line(Struct, frozen=True, kw_only=True):
    """One measure of both; `better` is the side whose interval of the difference leaves out 0, or empty."""

    measure: str
    a: float
    b: float
    difference: Estimate
    """b minus a, 95 % paired bootstrap."""
    better: str


class Cost(Struct, frozen=True, kw_only=True):
    """What a bundle weighs and takes on this machine."""

    name: str
    bytes: int
    us_median: float
    """Of one prediction of its golden rows, one thread."""
    rows: int
    """How many those are."""


class Comparison(Struct, frozen=True, kw_only=True):
    """What `edge-models compare --json` prints."""

    protocol: str
    n: int
    """Rows or people."""
    lines: tuple[Line, ...]
    costs: tuple[Cost, ...]


def compare(a: Bundle, b: Bundle, ratings: Path | None, seed: int, *, personal: bool) -> Comparison:
    """Both on the same rows, or the same people's held-out items.

    Args:
        ratings: for bundles that rank items; None for `context` and `propensity`, which have test rows of their own.
        seed: draws candidates, negatives and resamples.
        personal: whether each person's personal part is trained first, as on a device; else as on a new one.
    Raises:
        SpecInvalid: the two cannot be asked the same thing.
    """
    if ratings is None:
        values, worse_is_more, protocol = _on_rows(a, b)
    else:
        values, protocol = _on_people(a, b, ratings, seed, personal=personal)
        worse_is_more = set()
    lines = []
    for name, (first, second) in values.items():
        difference = intervals.paired(second, first, seed)
        up = (difference.value > 0.0) != (name in worse_is_more)
        better = ("b" if up else "a") if difference.sure else ""
        lines.append(
            Line(measure=name, a=float(first.mean()), b=float(second.mean()), difference=difference, better=better)
        )
    count = len(next(iter(values.values()))[0])
    return Comparison(protocol=protocol, n=count, lines=tuple(lines), costs=(cost(a), cost(b)))


def cost(bundle: Bundle) -> Cost:
    """Bytes of the file, and the time of a prediction here and now."""
    inputs, predict, weights = (
        predict_inputs(read_golden(bundle)),
        Predictor(bundle.read("predict.onnx")),
        bundle.weights(),
    )
    for _ in range(_CALLS):
        predict(weights, inputs)
    spent = []
    for _ in range(_CALLS):
        began = perf_counter()
        predict(weights, inputs)
        spent.append(perf_counter() - began)
    return Cost(
        name=f"{bundle.spec.name}-{bundle.spec.version}",
        bytes=bundle.size,
        us_median=1e6 * float(np.median(spent)),
        rows=len(next(iter(inputs.values()))),
    )


def _on_rows(a: Bundle, b: Bundle) -> tuple[Mapping[str, tuple[F64, F64]], set[str], str]:
    if a.spec.name != b.spec.name:
        raise SpecInvalid(
            f"{a.spec.name} and {b.spec.name} answer different questions", hint="give --ratings to compare rankers"
        )
    columns: list[dict[str, F64]] = []
    for bundle in (a, b):
        inputs, label = held_out.rows(bundle)
        p = np.clip(held_out.probabilities(bundle, inputs).astype(np.float64), 1e-7, 1.0 - 1e-7)
        columns.append(
            {
                "accuracy": ((p >= 0.5) == (label > 0.5)).astype(np.float64),
                "log loss": -(label * np.log(p) + (1.0 - label) * np.log1p(-p)),
                "Brier score": (p - label) ** 2,
            }
        )
    protocol = (
        "The test rows of the model's own data, through each bundle's calibration; threshold one half. Rows that "
        "follow one another are not independent, so intervals are the least that is uncertain."
    )
    return {name: (columns[0][name], columns[1][name]) for name in columns[0]}, {"log loss", "Brier score"}, protocol


def _on_people(
    a: Bundle, b: Bundle, ratings: Path, seed: int, *, personal: bool
) -> tuple[Mapping[str, tuple[F64, F64]], str]:
    people = [held_out.Person(bundle) for bundle in (a, b)]
    data = splits.interactions(read_ratings(ratings))
    known = set(a.catalogue()) & set(b.catalogue())
    question = _within(splits.leave_one_out(data), data.catalogue, known)
    columns = [_ranked(one, question, data.catalogue, known, seed, personal=personal) for one in people]
    protocol = (
        f"Leave one out on {ratings.name}: each person's newest item, among {NEGATIVES} sampled items that the person "
        f"never touched (seed {seed}) and among all of them; ties count as misses. {len(known)} items that both "
        f"catalogues have. Personal part: {'trained on the own history' if personal else 'as on a new device'}. It is "
        "for whoever compares to see that neither bundle was trained on the held-out items."
    )
    return {name: (columns[0][name], columns[1][name]) for name in columns[0]}, protocol


def _within(question: Question, catalogue: tuple[str, ...], known: set[str]) -> Question:
    """People whose held-out item both bundles know, and only items that both know."""
    allowed = np.array([item in known for item in catalogue])
    kept = [at for at, item in enumerate(question.held_out) if allowed[item]]
    if not kept:
        raise SpecInvalid("the bundles' catalogues and the ratings share no held-out item", hint="check the files")
    return Question(
        users=tuple(question.users[at] for at in kept),
        histories=tuple(question.histories[at][allowed[question.histories[at]]] for at in kept),
        held_out=question.held_out[kept],
        touched=tuple(np.union1d(question.touched[at], np.flatnonzero(~allowed)) for at in kept),
    )


def _ranked(
    person: held_out.Person,
    question: Question,
    catalogue: tuple[str, ...],
    known: set[str],
    seed: int,
    *,
    personal: bool,
) -> dict[str, F64]:
    """Measures by person."""
    place = {item: row for row, item in enumerate(person.catalogue)}
    row_of = np.array([place[item] if item in known else -1 for item in catalogue], np.int64)
    asked = np.flatnonzero(row_of >= 0)
    scores = np.full((len(question.users), len(catalogue)), -np.inf, np.float32)
    for at, history in enumerate(question.histories):
        own = person.personalised(row_of[history], [seed, at]) if personal else {}
        scores[at, asked] = person.scores(row_of[history], row_of[asked], own)
    rows = splits.sampled(question, len(catalogue), NEGATIVES, seed)
    rank = evaluate.ranks(splits.of_candidates(scores, rows))
    full = evaluate.full_ranks(scores, question.held_out, question.touched)
    return {
        "HR@10": (rank < 10).astype(np.float64),
        "NDCG@10": np.where(rank < 10, 1.0 / np.log2(rank + 2.0), 0.0),
        "HR@10, full ranking": (full < 10).astype(np.float64),
        "MRR, full ranking": 1.0 / (full + 1.0),
    }
