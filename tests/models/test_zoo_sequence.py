"""Sequence models learn what follows what, and are served by the agent's own features."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import baselines
from models.architecture import Architecture
from models.build import Options, build_bundle
from models.bundle import Bundle, open_bundle
from models.check import check_bundle
from models.errors import DatasetInvalid
from models.session import Predictor
from models.zoo import sequence

BOTH = ("sequence-attention", "sequence-gru")


def chain_ratings(path: Path, people: int = 60, items: int = 20, seed: int = 5) -> Path:
    """A known truth: after item k comes k + 1 (around the circle), so the newest item tells the next.

    Everybody starts elsewhere, and every item is as popular as any other.
    """
    dice = np.random.default_rng(seed)
    lines = []
    for person in range(people):
        start = int(dice.integers(items))
        lines += [f"p{person},i{(start + at) % items},5,{1_000 * person + at}" for at in range(14)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module", params=BOTH)
def chained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, dict[str, float]]:
    folder = tmp_path_factory.mktemp("chain")
    options = Options(ratings=chain_ratings(folder / "chain.csv"), epochs=35)
    made = build_bundle(request.param, options, folder, "edge-models build")
    return open_bundle(made.path), {figure.name: figure.value for figure in made.figures}


def test_what_follows_is_learned_where_popularity_knows_nothing(chained: tuple[Bundle, dict[str, float]]) -> None:
    _, figures = chained
    assert figures["ndcg10"] > figures["ndcg10_popularity"] + 0.3
    assert figures["ndcg10"] > figures["ndcg10_item_knn"]


def test_a_bundle_of_sequences_passes_the_check(chained: tuple[Bundle, dict[str, float]]) -> None:
    bundle, _ = chained
    assert check_bundle(bundle.path) == []
    assert "model.tflite" not in bundle.files
    assert "ONNX only" in bundle.read("card.md").decode()


def test_the_newest_item_decides_what_of_the_untouched_is_proposed(chained: tuple[Bundle, dict[str, float]]) -> None:
    bundle, _ = chained
    catalogue = bundle.catalogue()
    predict, weights = Predictor(bundle.read("predict.onnx")), bundle.weights()
    best = []
    for newest in range(len(catalogue)):
        lived = np.array([(newest - back) % len(catalogue) for back in range(12)][::-1])
        rows = np.array([catalogue.index(f"i{n}") for n in lived])
        fresh = np.setdiff1d(np.arange(len(catalogue)), rows)
        score = predict(weights, {"recent": sequence.before(rows, len(rows))[None], "item": fresh})
        best.append(catalogue[fresh[int(np.argmax(score))]] == f"i{(newest + 1) % len(catalogue)}")
    assert np.mean(best) > 0.8


@pytest.mark.parametrize("name", BOTH)
def test_without_interactions_the_command_that_takes_them_is_named(name: str) -> None:
    with pytest.raises(DatasetInvalid, match=f"edge-models build {name} --ratings"):
        sequence.build(_architecture(name), Options())


def _architecture(name: str) -> Architecture:
    from models.build import zoo_module

    return zoo_module(name).ARCHITECTURE


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=30), st.data())
def test_a_history_before_an_event_holds_neither_it_nor_what_follows(lived: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lived)))
    row = sequence.before(np.array(lived), at)
    seen = [float(item + 1) for item in lived[max(0, at - sequence.LENGTH) : at]]
    assert row.tolist() == [0.0] * (sequence.LENGTH - len(seen)) + seen


def test_what_follows_counts_near_items_more() -> None:
    table = baselines.follows([np.array([0, 1, 2]), np.array([0, 1])], 3, within=2)
    assert table.tolist() == [[0.0, 2.0, 0.5], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


def test_items_are_alike_when_the_same_people_touch_them() -> None:
    alike = baselines.item_cosine([np.array([0, 1]), np.array([0, 1, 2]), np.array([2])], 3)
    assert alike[0, 1] == pytest.approx(1.0)
    assert alike[0, 2] == pytest.approx(0.5)
    assert not np.diag(alike).any()
