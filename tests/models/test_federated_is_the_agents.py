"""The simulated clients compute what the agent's own trainer computes with `train_step.onnx`."""

import numpy as np
import pytest

from edge_agent.learn.trainer import Rows, Schedule, train
from edge_agent.learn.update import bucketed
from models import federated, federated_affinity, negatives, splits
from models.build import Options, build_bundle
from models.bundle import Bundle, open_bundle
from models.check import check_bundle
from models.datasets import read_ratings
from models.federated_affinity import Personal, Shared
from models.session import Predictor, TrainStep
from models.splits import Question
from models.zoo import affinity_recent
from models.zoo.affinity_recent import FACTORS, PLAN, TRAIN, recent_rows, weights
from tests.models.sample import taste_ratings


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Question]:
    folder = tmp_path_factory.mktemp("affinity-recent")
    ratings = taste_ratings(folder / "ratings.csv", people=12, items=40)
    built = build_bundle("affinity-recent", Options(ratings=ratings, epochs=2), folder, "edge-models build")
    return open_bundle(built.path), splits.leave_one_out(splits.interactions(read_ratings(ratings)))


def _start(items: int) -> tuple[Shared, Personal]:
    """Somewhere in the middle of a training, so that no gradient is zero."""
    dice = np.random.default_rng(7)
    shared = federated.start(items, PLAN)
    shared.item_embedding[:items] += dice.normal(0, 0.3, (items, PLAN.dimensions)).astype(np.float32)
    own = Personal(dice.normal(0, 0.3, (12, PLAN.dimensions)).astype(np.float32), dice.normal(size=12).astype("f4"))
    return shared, own


def test_a_round_of_simulated_clients_is_the_weighted_mean_of_the_agents_updates(
    made: tuple[Bundle, Question],
) -> None:
    bundle, question = made
    items = len(bundle.catalogue())
    shared, own = _start(items)
    histories = [one[: 3 + number] for number, one in enumerate(question.histories)]
    weight = np.array([bucketed(len(one)) for one in histories], np.float32)
    weight /= weight.sum()
    drawn, deltas, mine = [], [], []
    step = TrainStep(bundle.read("train_step.onnx"))
    before = {name: weights(shared)[name] for name in ("item_embedding", "item_bias", "place_weight")}
    for number, history in enumerate(histories):
        pool = negatives.untouched(items, history)
        dice = np.random.default_rng([0, 0, number])
        drawn.append(negatives.draw(pool, PLAN.negatives * len(history), dice).reshape(len(history), -1))
        personal = {"user_vector": own.user_vector[number], "user_bias": own.user_bias[[number]]}
        rows = Rows(item=history, features={"recent": recent_rows(history)}, label=np.ones(len(history), np.float32))
        schedule = Schedule(epochs=1, lr=TRAIN.lr, batch=TRAIN.batch, negatives=TRAIN.negatives)
        trained = train(
            step,
            bundle.spec,
            before,
            {"me": personal},
            {"me": rows},
            items,
            schedule,
            np.random.default_rng([0, 0, number]),
        )
        deltas.append({name: trained.shared[name] - before[name] for name in before})
        mine.append(trained)
    placed = federated_affinity.layout(histories, items, PLAN.length)
    update, after, loss = federated_affinity.step(shared, own, placed, np.concatenate(drawn), weight, FACTORS)
    for name in before:
        want = sum(share * delta[name] for share, delta in zip(weight, deltas, strict=True))
        got = getattr(update, name)[:items] if name != "place_weight" else update.place_weight
        np.testing.assert_allclose(got, want, atol=1e-5, err_msg=name)
        assert np.abs(want).max() > 1e-3, f"{name} did not move, so nothing was compared"
    for number, trained in enumerate(mine):
        np.testing.assert_allclose(after.user_vector[number], trained.personal["me"]["user_vector"], atol=1e-5)
        np.testing.assert_allclose(after.user_bias[[number]], trained.personal["me"]["user_bias"], atol=1e-5)
        assert loss[number] == pytest.approx(trained.loss_before, abs=1e-5)


def test_the_simulations_scores_are_those_of_the_bundles_graph(made: tuple[Bundle, Question]) -> None:
    bundle, question = made
    items = len(bundle.catalogue())
    shared, own = _start(items)
    want = federated_affinity.scores(shared, own, question.histories)
    predict = Predictor(bundle.read("predict.onnx"))
    for number, history in enumerate(question.histories):
        recent = recent_rows(np.append(history, 0))[-1:].repeat(items, 0)
        personal = {"user_vector": own.user_vector[number], "user_bias": own.user_bias[[number]]}
        got = predict({**weights(shared), **personal}, {"recent": recent, "item": np.arange(items)})
        np.testing.assert_allclose(got, want[number], atol=1e-5)


def test_both_tell_counts_in_the_same_buckets() -> None:
    assert [federated.bucketed(n) for n in range(1, 300)] == [bucketed(n) for n in range(1, 300)]


def test_the_bundle_that_rounds_make_is_whole_and_says_what_it_reached(made: tuple[Bundle, Question]) -> None:
    bundle, _ = made
    assert check_bundle(bundle.path) == []
    assert bundle.spec.needed_fields == ("item",)
    card = bundle.read("card.md").decode()
    assert "hr10_gap_between_subgroups" in card
    assert "none were pooled" in card


def test_the_plan_and_the_architecture_speak_of_the_same_model() -> None:
    shapes = {tensor.name: tensor.shape for tensor in affinity_recent.ARCHITECTURE.parameters}
    assert shapes["place_weight"] == (PLAN.length, PLAN.dimensions)
    assert PLAN.interactions_max * (1 + PLAN.negatives) <= TRAIN.batch
