"""Federated rounds: what they learn, what they repeat, and what a client's data can touch."""

from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from models import evaluate, federated, federated_affinity, splits
from models.datasets import read_ratings
from models.federated import Named, Plan
from models.federated_affinity import Layout
from models.splits import Question
from models.zoo import affinity_recent
from tests.models.sample import taste_ratings

PLAN = Plan(dimensions=8, length=5, cohort=10, participations=30, negatives=5, server_lr=0.03)


@pytest.fixture(scope="module")
def tastes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Question, int]:
    data = splits.interactions(read_ratings(taste_ratings(tmp_path_factory.mktemp("tastes") / "ratings.csv")))
    return splits.leave_one_out(data), len(data.catalogue)


def _scores(question: Question, items: int, plan: Plan) -> np.ndarray:
    shared, own = federated.train(
        question.histories, items, plan, federated.start(items, plan), affinity_recent.FACTORS
    )
    return federated_affinity.scores(shared, own, question.histories)


def test_rounds_learn_tastes_that_popularity_cannot_tell_apart(tastes: tuple[Question, int]) -> None:
    question, items = tastes
    rank = evaluate.full_ranks(_scores(question, items, PLAN), question.held_out, question.touched)
    # 42 untouched items, 12 of them of the own kind: an order by taste finds the held-out one among those.
    assert evaluate.hit_rate(rank) > 0.6


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tastes: tuple[Question, int]) -> None:
    question, items = tastes
    brief = replace(PLAN, participations=2)
    first, again, other = (_scores(question, items, replace(brief, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_sequence_reads_into_another_clients(tastes: tuple[Question, int]) -> None:
    """A client's scores depend on its own history only, whoever stands beside it."""
    question, items = tastes
    shared = federated.start(items, PLAN)
    alone = federated_affinity.Personal(np.zeros((1, 8), np.float32), np.zeros(1, np.float32))
    three = federated_affinity.Personal(np.zeros((3, 8), np.float32), np.zeros(3, np.float32))
    together = federated_affinity.scores(shared, three, question.histories[:3])
    for row in range(3):
        single = federated_affinity.scores(shared, alone, [question.histories[row]])[0]
        np.testing.assert_allclose(together[row], single, atol=1e-6)


def test_a_client_without_interactions_takes_no_part_and_is_scored_by_the_shared_part(
    tastes: tuple[Question, int],
) -> None:
    question, items = tastes
    histories = [*question.histories[:5], np.zeros(0, np.int64)]
    plan = replace(PLAN, participations=1)
    shared, own = federated.train(histories, items, plan, federated.start(items, plan), affinity_recent.FACTORS)
    assert not own.user_vector[5].any()
    np.testing.assert_allclose(
        federated_affinity.scores(shared, own, histories)[5], shared.item_bias[:items], atol=1e-6
    )


def test_the_layout_leaves_room_before_each_history() -> None:
    got = federated_affinity.layout([np.array([4, 5]), np.array([6])], items=9, length=2)
    want = Layout(np.array([9, 9, 4, 5, 9, 9, 9, 6, 9]), np.array([2, 3, 7]), np.array([0, 0, 1]), np.array([4, 8]))
    for name in ("flat", "at", "client", "after"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))


def test_a_step_follows_the_slope_of_the_loss(tastes: tuple[Question, int]) -> None:
    """The update is the negative gradient: compare with central differences of the loss itself."""
    question, items = tastes
    plan = replace(PLAN, dimensions=3, length=2)
    shared = federated.start(items, plan)
    dice = np.random.default_rng(0)
    histories = [one[:6] for one in question.histories[:2]]
    own = federated_affinity.Personal(dice.normal(0, 0.3, (2, 3)).astype(np.float32), np.zeros(2, np.float32))
    placed = federated_affinity.layout(histories, items, plan.length)
    drawn = dice.integers(0, items, (len(placed.at), 4))
    factors = federated_affinity.Factors(
        1.0, dict.fromkeys(affinity_recent.FACTORS.step, 1.0), dict.fromkeys(affinity_recent.FACTORS.decay, 0.0)
    )
    weight = np.array([0.25, 0.75], np.float32)

    def loss() -> float:
        return float(federated_affinity.step(shared, own, placed, drawn, weight, factors)[2] @ weight)

    update, _, _ = federated_affinity.step(shared, own, placed, drawn, weight, factors)
    touched = (int(histories[0][2]), 1)
    for name, at in (("item_embedding", touched), ("item_bias", touched[:1]), ("place_weight", (1, 2))):
        value = getattr(shared, name)
        kept, ends = value[at], []
        for side in (1e-2, -1e-2):
            value[at] = kept + np.float32(side)
            ends.append(loss())
        value[at] = kept
        assert getattr(update, name)[at] == pytest.approx(-(ends[0] - ends[1]) / 2e-2, rel=0.02, abs=2e-5), name


def test_a_server_that_sees_single_updates_and_averages_them_learns_the_same(tastes: tuple[Question, int]) -> None:
    question, items = tastes
    plan = replace(PLAN, participations=2)

    def mean(_number: int, cohort: NDArray[np.int64], updates: Sequence[Named], weight: NDArray[np.float32]) -> Named:
        assert len(cohort) == len(updates) == len(weight)
        share = weight / weight.sum()
        return {
            name: np.sum([s * one[name] for s, one in zip(share, updates, strict=True)], axis=0, dtype=np.float32)
            for name in updates[0]
        }

    start = federated.start(items, plan)
    at_once, own = federated.train(question.histories, items, plan, start, affinity_recent.FACTORS)
    one_by_one, also = federated.train(question.histories, items, plan, start, affinity_recent.FACTORS, combine=mean)
    assert one_by_one.item_embedding == pytest.approx(at_once.item_embedding, abs=2e-3)
    assert also.user_vector == pytest.approx(own.user_vector, abs=2e-3)


def test_poisson_rounds_ask_each_client_by_chance_of_its_own(tastes: tuple[Question, int]) -> None:
    question, items = tastes
    plan = replace(PLAN, participations=6, sampling="poisson")
    asked: list[int] = []

    def note(_number: int, cohort: NDArray[np.int64], updates: Sequence[Named], _weight: NDArray[np.float32]) -> Named:
        asked.append(len(cohort))
        return updates[0]

    federated.train(
        question.histories, items, plan, federated.start(items, plan), affinity_recent.FACTORS, combine=note
    )
    assert len(asked) == plan.rounds(len(question.histories))
    assert len(set(asked)) > 1
