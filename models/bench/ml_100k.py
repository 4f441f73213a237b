"""`edge-models bench ml-100k`: `affinity-recent`, federated, under the protocol of the federated recommendation papers.

Each person is one client. Nothing of a client's interactions is pooled: the server sees weighted means of updates.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from models import evaluate, federated, federated_affinity, intervals, splits
from models.bench import references
from models.datasets import read_ratings
from models.errors import DatasetInvalid
from models.federated import Plan
from models.federated_affinity import Factors
from models.splits import Question
from models.zoo.affinity_recent import FACTORS, PLAN

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Progress = Callable[[str], None]

NEGATIVES = 99
LINEAR_ITEMS_MAX = 20_000
"""Above this catalogue the references that need an items × items matrix are left out."""
SCORES_MAX = 200_000_000
"""People times items that are ranked at once: 800 MB."""
REPORTED = (("FedNCF", 60.89, None), ("FedRecon", 65.43, None), ("PFedRec", 71.62, 43.44), ("GPFedRec", 72.85, 43.77))
"""Percent on MovieLens 100K, as the papers report them; not trained here."""


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table; percent. None: not known."""

    name: str
    kind: str
    """ours, ablation, centralised or reported."""
    hr10: float
    ndcg10: float | None
    hr10_sd: float | None = None
    ndcg10_sd: float | None = None
    hr10_all_draws: float | None = None
    """The expected HR@10 over all draws of the negatives."""
    full_hr10: float | None = None
    full_ndcg10: float | None = None
    full_mrr: float | None = None


class Report(Struct, frozen=True, kw_only=True):
    """What `--json` prints. Percent, means over seeds; sd is the sample standard deviation."""

    hr10: float
    ndcg10: float
    hr10_sd: float
    ndcg10_sd: float
    hr10_interval: tuple[float, float]
    """95 % over people, of the first seed."""
    full: Row
    seconds: float
    seconds_federated: float
    protocol: str
    seeds: tuple[int, ...]
    clients: int
    items: int
    interactions: int
    rounds: int
    plan: Plan
    parameters_sent: int
    """Numbers that a client sends in a round."""
    table: tuple[Row, ...]
    centralised: tuple[Row, ...]
    ratings: str


class Measured(Struct, frozen=True, kw_only=True):
    """One model, one seed: ranks among the sampled candidates and among all untouched items."""

    sampled: I64
    full: I64
    others: I64


def run(ratings: Path, seeds: Sequence[int], *, validation: bool, compared: bool, progress: Progress) -> Report:
    """Train and measure.

    Args:
        ratings: `user,item,rating,time` a line.
        seeds: one federated training each; a seed also draws that run's negatives.
        validation: ask for the last but one item instead, and never look at the last: for choosing hyper-parameters.
        compared: whether the centralised references are trained too.
    Raises:
        DatasetInvalid: the file is not as it should be, or nobody has enough items.
    """
    began = perf_counter()
    data = splits.interactions(read_ratings(ratings))
    question = splits.leave_one_out(data, back=2 if validation else 1)
    items, plan = len(data.catalogue), PLAN
    if len(question.users) * items > SCORES_MAX:
        raise DatasetInvalid(
            f"{len(question.users)} people times {items} items is more than {SCORES_MAX:,} scores",
            hint="sample the people first",
        )
    ours: list[Measured] = []
    spent = 0.0
    for seed in seeds:
        start = perf_counter()
        scores = _federated(question, items, plan, seed, progress)
        spent += perf_counter() - start
        ours.append(measure(scores, question, items, seed))
    row = summary("edgeward affinity-recent (federated)", "ours", ours)
    ablations = (_ablation(question, items, plan, seeds, progress),) if compared else ()
    central = tuple(_centralised(question, items, seeds, progress)) if compared else ()
    hits = (ours[0].sampled < 10).astype(np.float64)
    interval = intervals.bootstrap(hits, seed=0)
    reported = tuple(Row(name=name, kind="reported", hr10=hr, ndcg10=ndcg) for name, hr, ndcg in REPORTED)
    return Report(
        hr10=row.hr10,
        ndcg10=row.ndcg10 or 0.0,
        hr10_sd=row.hr10_sd or 0.0,
        ndcg10_sd=row.ndcg10_sd or 0.0,
        hr10_interval=(100.0 * interval.low, 100.0 * interval.high),
        full=row,
        seconds=perf_counter() - began,
        seconds_federated=spent,
        protocol=protocol(question, plan, validation=validation),
        seeds=tuple(seeds),
        clients=len(question.users),
        items=items,
        interactions=sum(len(own) for own in data.items),
        rounds=plan.rounds(len(question.users)),
        plan=plan,
        parameters_sent=items * (plan.dimensions + 1) + plan.length * plan.dimensions,
        table=(*reported, row, *ablations),
        centralised=central,
        ratings=ratings.name,
    )


def scored(ratings: Path, seed: int, *, validation: bool) -> tuple[F32, Question]:
    """Every client's scores (clients, items) after one federated training, and what was asked."""
    data = splits.interactions(read_ratings(ratings))
    question = splits.leave_one_out(data, back=2 if validation else 1)
    return _federated(question, len(data.catalogue), PLAN, seed, lambda _line: None), question


def protocol(question: Question, plan: Plan, *, validation: bool) -> str:
    """What was measured, in sentences."""
    which = "last but one item (validation; the last is not looked at)" if validation else "last item by time"
    return (
        f"Leave one out: {len(question.users)} clients, one person each, every interaction a positive. Held out is "
        f"each person's {which}, ties in time in the order of the file; it is ranked among {NEGATIVES} items drawn "
        f"uniformly without replacement, by the run's seed, from those that the person never touched; ties count "
        f"against the model. Embedding {plan.dimensions}. Hyper-parameters were chosen on the last but one item, "
        f"never on the last. A client takes part {plan.participations} times in cohorts of {plan.cohort}: one step of "
        f"SGD on its own rows ({plan.negatives} untouched items an interaction, at most {plan.interactions_max} "
        f"interactions a round); the server averages updates by bucketed example counts and applies Adam. The query is "
        f"the weighted sum of the client's last {plan.length} items plus its personal vector, which never leaves it. "
        f"It uses the order of a client's own interactions; the reported methods do not. "
        f"Sampled metrics can order methods wrongly (Krichene and Rendle 2020): the full ranking stands beside them."
    )


def measure(scores: F32, question: Question, items: int, seed: int) -> Measured:
    """Ranks of the held-out items; `scores` is (clients, items)."""
    rows = splits.sampled(question, items, NEGATIVES, seed)
    touched = np.array([len(one) for one in question.touched])
    return Measured(
        sampled=evaluate.ranks(splits.of_candidates(scores, rows)),
        full=evaluate.full_ranks(scores, question.held_out, question.touched),
        others=items - touched,
    )


def summary(name: str, kind: str, measured: Sequence[Measured]) -> Row:
    """Means over seeds in percent, and the sample standard deviation of the sampled measures."""
    hits, gains = ([100.0 * f(one.sampled) for one in measured] for f in (evaluate.hit_rate, evaluate.ndcg))
    spread = [float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for values in (hits, gains)]
    chance = [100.0 * float(evaluate.chance_within(one.full, one.others, NEGATIVES).mean()) for one in measured]
    full = {
        f"full_{key}": float(np.mean([100.0 * f(one.full) for one in measured]))
        for key, f in (("hr10", evaluate.hit_rate), ("ndcg10", evaluate.ndcg), ("mrr", evaluate.mrr))
    }
    return Row(
        name=name,
        kind=kind,
        hr10=float(np.mean(hits)),
        ndcg10=float(np.mean(gains)),
        hr10_sd=spread[0],
        ndcg10_sd=spread[1],
        hr10_all_draws=float(np.mean(chance)),
        **full,
    )


def _federated(question: Question, items: int, plan: Plan, seed: int, progress: Progress, *, order: bool = True) -> F32:
    """Scores (clients, items); without `order` the query is the personal vector alone."""
    seeded = replace(plan, seed=seed)
    start, factors = federated.start(items, seeded), FACTORS
    if not order:
        start.place_weight[:] = 0.0
        factors = Factors(factors.lr, {**factors.step, "place_weight": 0.0}, factors.decay)

    def tell(number: int, rounds: int, loss: float) -> None:
        if number % max(1, rounds // 20) == 0:
            progress(f"seed {seed}: round {number} of {rounds}, loss {loss:.4f}")

    shared, personal = federated.train(question.histories, items, seeded, start, factors, tell)
    return federated_affinity.scores(shared, personal, question.histories)


def _ablation(question: Question, items: int, plan: Plan, seeds: Sequence[int], progress: Progress) -> Row:
    progress("ablation: without the last items")
    found = [
        measure(_federated(question, items, plan, seed, progress, order=False), question, items, seed) for seed in seeds
    ]
    return summary("affinity-recent, order unused", "ablation", found)


def _centralised(question: Question, items: int, seeds: Sequence[int], progress: Progress) -> list[Row]:
    matrix = references.touched(question.histories, items)
    latest = references.recent(question.histories, items)
    fixed: dict[str, Callable[[], F32]] = {"popularity": lambda: references.popularity(matrix)}
    if items <= LINEAR_ITEMS_MAX:
        fixed["item cosine"] = lambda: references.item_cosine(matrix)
        fixed["EASE"] = lambda: references.ease(matrix, matrix)
        fixed["EASE, recent items weigh more"] = lambda: references.ease(matrix, latest)
    rows: list[Row] = []
    for name, scored in fixed.items():
        progress(f"centralised reference: {name}")
        scores = scored()
        rows.append(summary(name, "centralised", [measure(scores, question, items, seed) for seed in seeds]))
    progress("centralised reference: matrix factorisation")
    found = [
        measure(references.matrix_factorisation(question.histories, items, seed), question, items, seed)
        for seed in seeds
    ]
    return [*rows, summary("matrix factorisation, 32", "centralised", found)]
