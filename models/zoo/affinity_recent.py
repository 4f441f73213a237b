"""How much one person likes each item next: the last items and a personal vector, over shared item embeddings.

The query is the weighted sum of the embeddings of the last items, with a learned weight for each place and dimension
(FISM with places: Kabbur et al. 2013; Liu et al. 2018), plus the personal score head of PFedRec (Zhang et al. 2023).
What items are like and how fast interest fades is learned together; what a person likes stays with that person.

Its bundle is built as devices would build it: by federated rounds over simulated clients, one person each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from models import datasets, evaluate, federated, intervals, splits
from models.architecture import Architecture, Rows, Tensor
from models.bench import references
from models.build import Draft, Options, rounded
from models.card import Card, Figure
from models.elementwise import as_float, as_index
from models.federated import Plan
from models.federated_affinity import Personal, Shared, scores
from models.ranking import activity_groups
from models.spec import Calibration, Input, ItemSequence, Train
from models.splits import Question

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
FIELD = "item"
"""The profile's field whose values are items."""
NEGATIVES_RANKED = 99
PLAN = Plan()


def forward(p: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
    """Logit of "this person touches this item next", (n,)."""
    place = as_index(x["recent"])  # (n, length), row + 1, 0 empty
    seen = p["item_embedding"][(place - 1).clip(0, None)] * as_float(place > 0)[:, :, None]  # (n, length, d)
    query = (seen * p["place_weight"]).sum(1) + p["user_vector"]  # (n, d)
    item = x["item"]
    return (query * p["item_embedding"][item]).sum(-1) + p["item_bias"][item] + p["user_bias"]


# The steps and decays were found on the validation item (the last but one of each person), not on the held-out ones.
ARCHITECTURE = Architecture(
    name="affinity-recent",
    task="rank",
    parameters=(
        Tensor(name="item_embedding", shape=("items", PLAN.dimensions), share="shared", decay=3e-6),
        Tensor(name="item_bias", shape=("items",), share="shared", decay=1e-7),
        Tensor(name="place_weight", shape=(PLAN.length, PLAN.dimensions), share="shared"),
        # 1 + negatives: the mean over rows becomes a mean over interactions.
        Tensor(
            name="user_vector",
            shape=(PLAN.dimensions,),
            share="personal",
            init="zeros",
            step=1.0 + PLAN.negatives,
            decay=5e-4,
        ),
        Tensor(name="user_bias", shape=(1,), share="personal", init="zeros"),
    ),
    inputs=(
        Rows(name="recent", dtype="float32", columns=PLAN.length, recent=True),
        Rows(name="item", dtype="int64"),
    ),
    forward=forward,
)
FACTORS = federated.factors_of(ARCHITECTURE, PLAN.lr)
TRAIN = Train(loss="bce", lr=PLAN.lr, batch=4_096, epochs=PLAN.participations, negatives=PLAN.negatives)


def build(options: Options) -> Draft:
    """By federated rounds over the people of the ratings; measured on each one's newest item.

    Raises:
        DatasetInvalid: no interactions were given, or nobody has two.
    """
    data = splits.interactions(datasets.read_ratings(options.given(ARCHITECTURE.name)))
    question = splits.only(splits.leave_one_out(data), options.learns_from)
    items = len(data.catalogue)
    plan = replace(PLAN, seed=options.seed, participations=options.epochs or PLAN.participations)
    shared, own = federated.train(question.histories, items, plan, federated.start(items, plan), FACTORS)
    example, label = _example(question.histories[0], items, options.seed)
    return Draft(
        architecture=ARCHITECTURE,
        summary="How much one person likes each item next, from the last ones and a personal vector",
        licence=options.licence or "as the ratings that were given; ask whoever gave them",
        weights=weights(shared),
        inputs=inputs(),
        needed_fields=(FIELD,),
        train=TRAIN,
        calibration=Calibration(),
        catalogue=data.catalogue,
        example=example,
        label=label,
        card=_card(_figures(shared, own, question, items, options.seed), question, plan),
    )


def measure(weights: Mapping[str, F32], options: Options) -> float:
    """HR@10 in percent of these weights for people without a personal part, on the ratings that were given."""
    data = splits.interactions(datasets.read_ratings(options.given(ARCHITECTURE.name)))
    question = splits.only(splits.leave_one_out(data), options.learns_from)
    items, people = len(data.catalogue), len(question.users)
    empty = np.zeros((1, PLAN.dimensions), np.float32), np.zeros(1, np.float32)
    shared = Shared(
        np.concatenate([weights["item_embedding"], empty[0]]),
        np.concatenate([weights["item_bias"], empty[1]]),
        weights["place_weight"],
    )
    nobody = Personal(np.zeros((people, PLAN.dimensions), np.float32), np.zeros(people, np.float32))
    score = scores(shared, nobody, question.histories)
    candidates = splits.sampled(question, items, NEGATIVES_RANKED, options.seed)
    return 100.0 * evaluate.hit_rate(evaluate.ranks(splits.of_candidates(score, candidates)))


def inputs() -> tuple[Input, ...]:
    """As devices make them: the last items of the subject, the same for every candidate."""
    recent = (ItemSequence(field=FIELD, length=PLAN.length),)
    return (
        Input(name="recent", dtype="float32", shape=(-1, PLAN.length), from_="features", features=recent),
        Input(name="item", dtype="int64", shape=(-1,), from_="candidate"),
    )


def weights(shared: Shared) -> dict[str, F32]:
    """The graph's parameters; a new person's own part is zero."""
    return {
        "item_embedding": shared.item_embedding[:-1],
        "item_bias": shared.item_bias[:-1],
        "place_weight": shared.place_weight,
        "user_vector": np.zeros(shared.place_weight.shape[1], np.float32),
        "user_bias": np.zeros(1, np.float32),
    }


def recent_rows(history: I64, length: int = PLAN.length) -> F32:
    """The `sequence` feature before each interaction: float32 (n, length), rows plus 1, the newest last."""
    padded = np.concatenate([np.zeros(length, np.float32), history + np.float32(1.0)])
    return np.lib.stride_tricks.sliding_window_view(padded, length)[: len(history)].astype(np.float32)


def _example(history: I64, items: int, seed: int) -> tuple[dict[str, NDArray[np.generic]], F32]:
    """A person's last interactions as positives, random items as negatives, for the golden outputs."""
    lived, recent = history[-8:], recent_rows(history)[-8:]
    drawn = np.random.default_rng(seed).integers(0, items, len(lived))
    label = np.repeat(np.array([1.0, 0.0], np.float32), len(lived))
    return {"recent": np.concatenate([recent, recent]), "item": np.concatenate([lived, drawn])}, label


def _figures(shared: Shared, own: Personal, question: Question, items: int, seed: int) -> tuple[Figure, ...]:
    candidates = splits.sampled(question, items, NEGATIVES_RANKED, seed)
    score = scores(shared, own, question.histories)
    stranger = scores(shared, Personal(own.user_vector * 0, own.user_bias * 0), question.histories)
    popular = references.popularity(references.touched(question.histories, items))
    rank, new, base = (evaluate.ranks(splits.of_candidates(one, candidates)) for one in (score, stranger, popular))
    full = evaluate.full_ranks(score, question.held_out, question.touched)
    hits = (rank < 10).astype(float)
    gain = intervals.paired(hits, (base < 10).astype(float), seed)
    groups = activity_groups([len(one) for one in question.histories])
    gap = intervals.subgroup_gap(hits, groups, seed)
    return (
        *_pair("", rank, seed, f"{len(rank)} people, each with the personal part that the rounds left"),
        *_pair("_new_person", new, seed, "the same people without their personal part, as on a new device"),
        *_pair("_popularity", base, seed, "baseline: most touched items"),
        Figure(
            name="hr10_gain_over_popularity",
            value=gain.value,
            note=f"the same people paired, 95 % interval {rounded(gain.low)} to {rounded(gain.high)}",
        ),
        Figure(name="hr10_full_ranking", value=evaluate.hit_rate(full), note="among all items not touched"),
        Figure(name="mrr_full_ranking", value=evaluate.mrr(full)),
        *(
            Figure(
                name=f"hr10_{name}_users", value=float(hits[some].mean()), note=f"subgroup, {int(some.sum())} people"
            )
            for name, some in groups.items()
            if some.any()
        ),
        Figure(
            name="hr10_gap_between_subgroups",
            value=gap.value,
            note=f"best minus worst, 95 % interval {rounded(gap.low)} to {rounded(gap.high)}",
        ),
    )


def _pair(label: str, rank: I64, seed: int, note: str) -> tuple[Figure, Figure]:
    hits = intervals.bootstrap((rank < 10).astype(float), seed)
    return (
        Figure(
            name=f"hr10{label}",
            value=hits.value,
            note=f"{note}; 95 % interval {rounded(hits.low)} to {rounded(hits.high)}",
        ),
        Figure(name=f"ndcg10{label}", value=evaluate.ndcg(rank), note=note),
    )


def _card(figures: Sequence[Figure], question: Question, plan: Plan) -> Card:
    return Card(
        data=(
            f"{sum(len(one) for one in question.histories)} interactions of {len(question.users)} people, one "
            f"simulated client each; none were pooled."
        ),
        protocol=(
            f"Leave one out: each person's newest item against {NEGATIVES_RANKED} sampled items that the person never "
            f"touched, first 10, seed {plan.seed}; ties count as misses. Every interaction is a positive. "
            f"{plan.rounds(len(question.users))} rounds, each client in {plan.participations} of them; updates "
            f"averaged by bucketed example counts, Adam on the server. `edge-models bench ml-100k` measures it beside "
            f"others."
        ),
        figures=tuple(figures),
        intended_use="Ordering candidates for one person, next to rules and a policy that explores.",
        limits=(
            "New items have no embedding until the next rounds. Each candidate costs the sum over the last items "
            "again, so slates of thousands are slower than with `affinity`. ONNX only, as the catalogue's size stays "
            "open. Sampled candidates flatter every method: the full ranking is the harder number."
        ),
    )
