"""People drawn by a model's scores: they go on as the town does, and what few did is not told apart."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from models import archive, arrays
from models.cohort import resemblance, scores
from models.cohort.generator import Generator, pack, unpack
from models.cohort.people import people_of
from models.cohort.sampling import sample
from models.cohort.scores import Scores
from models.datasets import Rating
from models.errors import GeneratorInvalid
from models.zoo.affinity_recent import PLAN
from tests.models.cohort.town import BY_MODEL, fitted, town


@cache
def generator() -> Generator:
    return fitted(town(couples=True), BY_MODEL)


def source(made: Generator) -> Scores:
    assert isinstance(made.source, Scores)
    return made.source


def test_the_town_is_recognised_by_its_order_and_its_two_tastes() -> None:
    real, drawn = town(couples=True), sample(generator(), 200, 1)
    told = {one.name: one.value for one in resemblance.compare(real, drawn, 0)}
    assert told["items"] < 0.15
    assert told["what follows what"] < 0.6
    onward = [np.mean((np.diff(items) == 1) | (np.diff(items) == -29)) for items in drawn.items]
    assert np.mean(onward) > 0.1, "by chance 1 of 59"
    lower = np.array([(items < 30).mean() for items in drawn.items])
    assert np.abs(lower - 0.5).mean() > 0.3, "people keep to one half"


def test_a_small_cohort_is_the_beginning_of_a_large_one() -> None:
    few, many = sample(generator(), 10, 5), sample(generator(), 40, 5)
    assert all(np.array_equal(one, other) for one, other in zip(few.items, many.items, strict=False))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**31), st.floats(0.0, 1e4))
def test_items_are_different_whatever_the_scores(count: int, seed: int, large: float) -> None:
    dice = np.random.default_rng(seed)
    made = replace(source(generator()), bias=dice.choice([-large, large], 60))
    items = scores.draw(made, made.liking_of(0, dice), count, dice)
    assert len(set(items.tolist())) == count
    assert items.min() >= 0
    assert items.max() < 60


def test_items_of_few_people_share_what_they_have() -> None:
    rows = [
        Rating(user=f"u{n}", item=f"i{(n + t) % 12}", rating=1.0, time=float(t)) for n in range(40) for t in range(6)
    ]
    rows += [Rating(user=f"u{n}", item=f"rare{n}", rating=1.0, time=9.0) for n in range(4)]
    people = people_of(rows)
    found = source(fitted(people, BY_MODEL))
    rare = [n for n, item in enumerate(people.catalogue) if item.startswith("rare")]
    assert np.ptp(found.embedding[rare], axis=0).max() == 0.0
    assert np.ptp(found.bias[rare]) < 1e-9


def test_items_differ_in_as_many_directions_as_are_kept() -> None:
    kept = replace(BY_MODEL, learning=replace(BY_MODEL.learning, rank=3, groups=60))
    found = source(fitted(town(), kept)).embedding
    size = np.linalg.svd(found, compute_uv=False)
    assert (size[3:] < 1e-6 * size[0]).all()
    assert size[2] > 1e-3 * size[0]
    whole = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    assert np.allclose(scores.truncated(whole, 8), whole, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**40))
def test_groups_move_items_towards_each_other_and_none_out_of_their_midst(
    items: int, wide: int, groups: int, seed: int
) -> None:
    dice = np.random.default_rng(seed)
    embedding, touches = dice.normal(size=(items, wide)), dice.integers(0, 50, items)
    found = scores.grouped(embedding, touches, groups, seed)
    assert (found >= embedding.min(axis=0) - 1e-9).all()
    assert (found <= embedding.max(axis=0) + 1e-9).all()
    assert np.array_equal(scores.grouped(embedding, touches, groups, seed), found)
    assert groups < items or np.array_equal(found, embedding)


def test_an_item_of_few_takes_what_alike_items_of_many_have_and_hardly_the_other_way() -> None:
    embedding = np.array([[0.0, 1.0], [0.2, 1.0], [9.0, -9.0]])
    found = scores.grouped(embedding, np.array([100, 1, 100]), 2, 0)
    assert found[1, 0] < 0.01
    assert found[0, 0] < 0.01
    assert np.allclose(found[2], embedding[2])


def test_several_groupings_leave_more_of_items_apart_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding, touches = np.random.default_rng(0).normal(size=(60, 3)), np.ones(60, np.int64)
    several = scores.grouped(embedding, touches, 6, 0)
    monkeypatch.setattr(scores, "GROUPINGS", 1)
    one = scores.grouped(embedding, touches, 6, 0)
    assert len(np.unique(one.round(9), axis=0)) == 6
    assert len(np.unique(several.round(9), axis=0)) > 12
    assert ((several - embedding) ** 2).sum() < ((one - embedding) ** 2).sum()


def test_a_file_gives_back_the_same_people() -> None:
    raw = pack(generator())
    assert pack(unpack(raw, "a file")) == raw
    drawn, known = sample(unpack(raw, "a file"), 30, 1), sample(unpack(pack(generator()), "a file"), 30, 1)
    assert all((one == other).all() for one, other in zip(drawn.items, known.items, strict=True))


def test_the_model_finds_its_own_people_more_probable_than_strangers_to_it() -> None:
    own, other = sample(generator(), 60, 3), sample(generator(), 60, 3)
    dice = np.random.default_rng(0)
    mixed = replace(other, items=tuple(dice.permutation(60)[: len(items)] for items in other.items))
    plan = replace(PLAN, participations=4)
    assert scores.probable(source(generator()), own, plan).mean() > (
        scores.probable(source(generator()), mixed, plan).mean() + 0.3
    )


WRONG = {
    "embedding": lambda a: a[:, :-1],
    "bias": lambda a: a * np.float32(1e9),
    "place": lambda a: a[:0],
    "liking": lambda a: a[:1],
    "spread": lambda a: a + np.float32(np.nan),
}


@pytest.mark.parametrize("name", WRONG)
def test_parts_of_a_model_that_do_not_fit_together_are_refused(name: str) -> None:
    files = archive.unpack(pack(generator()), "a file", 2)
    found = dict(arrays.unpack(files["arrays.npz"], "a file"))
    found[name] = np.ascontiguousarray(WRONG[name](found[name]))
    with pytest.raises(GeneratorInvalid, match=r"people\.cohort"):
        unpack(archive.pack({**files, "arrays.npz": arrays.pack(found)}), "people.cohort")


def test_a_file_of_topics_is_no_file_of_a_model() -> None:
    files = archive.unpack(pack(generator()), "a file", 2)
    raw = files["card.json"].replace(b'"by":"model"', b'"by":"topics"')
    with pytest.raises(GeneratorInvalid, match="missing or too many"):
        unpack(archive.pack({**files, "card.json": raw}), "people.cohort")
