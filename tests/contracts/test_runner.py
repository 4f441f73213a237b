"""What every model runner must do, whatever runs beneath: one suite, each zoo bundle on each backend it is built for,
with its weights as they were built and in fewer bytes.

Tolerance between backends, and between a batch and its rows: the one that devices use for golden outputs.
"""

from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.infer.bundle import Backend, load_model
from edge_agent.infer.model import Array, LoadedModel
from models import arrays, golden, stored
from models.build import Options, build_bundle
from models.bundle import Bundle, matched, open_bundle, write_bundle
from models.errors import FeedRefused
from models.session import Predictor
from models.spec import Input, ItemSequence
from models.zoo import SHIPPED
from tests.models.sample import taste_ratings, zoo_path

BUILT = ("affinity-recent", "sequence-attention", "sequence-gru")
BACKENDS: tuple[Backend, ...] = ("onnx", "tflite")
agrees = partial(np.testing.assert_allclose, rtol=golden.RELATIVE, atol=golden.ABSOLUTE)


@cache
def path_of(name: str) -> Path:
    """A shipped bundle; `NAME/int8` and `NAME/float16`: the same with its weights in that storage."""
    plain, _, storage = name.partition("/")
    if not storage:
        return zoo_path(plain) if plain in SHIPPED else _built(plain)
    held = open_bundle(zoo_path(plain))
    packed = arrays.pack(stored.packed(held.weights(), "int8" if storage == "int8" else "float16"))
    weights = matched(held.spec, stored.restored(arrays.unpack(packed, "weights.npz")))
    files = {file: held.read(file) for file in held.files}
    files |= {"weights.npz": packed, "golden.npz": golden.regolden(held, weights)}
    return write_bundle(Path(mkdtemp(prefix="edgeward-stored-")), held.spec, files)


def _built(name: str) -> Path:
    """A model whose data may not ship, from data made up here: what it has learned does not matter."""
    folder = Path(mkdtemp(prefix="edgeward-built-"))
    ratings = taste_ratings(folder / "ratings.csv", people=12, items=40)
    return build_bundle(name, Options(ratings=ratings, epochs=1), folder, "a test").path


@cache
def bundle(name: str) -> Bundle:
    return open_bundle(path_of(name))


@cache
def model(name: str, backend: Backend) -> LoadedModel:
    return load_model(path_of(name), backend)


def built() -> list[tuple[str, Backend]]:
    """Every zoo bundle, in every storage, with every backend that it has an artefact for."""
    names = [f"{name}{storage}" for name in SHIPPED for storage in ("", "/float16", "/int8")] + list(BUILT)
    return [(name, one) for name in names for one in BACKENDS if one == "onnx" or "model.tflite" in bundle(name).files]


every = pytest.mark.parametrize(("name", "backend"), built())


def feeds(name: str, rows: int, seed: int = 0) -> dict[str, Array]:
    """Plausible inputs: real candidates, features near the golden ones."""
    dice = np.random.default_rng(seed)
    stored = golden.predict_inputs(golden.read_golden(bundle(name)))
    found: dict[str, Array] = {}
    for one in bundle(name).spec.inputs:
        if one.from_ == "candidate":
            found[one.name] = dice.integers(0, len(bundle(name).catalogue()), rows)
        else:
            # A sequence of items holds row numbers: there is nothing between two of them.
            low, high = (1.0, 1.0) if is_sequence(one) else (0.9, 1.1)
            picked = stored[one.name][dice.integers(0, len(stored[one.name]), rows)]
            found[one.name] = (picked * dice.uniform(low, high, picked.shape)).astype(np.float32)
    return found


def is_sequence(given_: Input) -> bool:
    return any(isinstance(feature, ItemSequence) for feature in given_.features)


def features(name: str) -> Input | None:
    return next((one for one in bundle(name).spec.inputs if one.from_ == "features"), None)


@every
def test_it_gives_the_golden_scores(name: str, backend: Backend) -> None:
    stored = golden.read_golden(bundle(name))
    scores = model(name, backend).predict(golden.predict_inputs(stored))
    assert (scores.dtype, scores.shape) == (np.float32, stored["predict/score"].shape)
    agrees(scores, stored["predict/score"])


@every
@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_it_scores_as_the_bare_graph_with_the_weights_fed(name: str, backend: Backend, rows: int, seed: int) -> None:
    given_ = feeds(name, rows, seed)
    bare = Predictor(bundle(name).read("predict.onnx"))(bundle(name).weights(), given_)
    scores = model(name, backend).predict(given_)
    if backend == "onnx":
        assert scores.tobytes() == bare.tobytes()
    agrees(scores, bare)


@every
def test_the_same_feeds_give_the_same_bytes_in_any_order_of_calls_and_after_another_load(
    name: str, backend: Backend
) -> None:
    again = load_model(path_of(name), backend)
    for rows in (5, 1, 64, 1, 5):
        given_ = feeds(name, rows, seed=rows)
        assert model(name, backend).predict(given_).tobytes() == again.predict(given_).tobytes()


@every
@pytest.mark.parametrize("rows", [0, 1, 2, 33, 500])
def test_any_number_of_rows_is_scored_each_as_if_alone(name: str, backend: Backend, rows: int) -> None:
    given_ = feeds(name, rows, seed=1)
    together = model(name, backend).predict(given_)
    assert (together.dtype, together.shape) == (np.float32, (rows,))
    alone = [model(name, backend).predict({k: v[n : n + 1] for k, v in given_.items()})[0] for n in range(rows)]
    agrees(together, np.array(alone, np.float32))


@every
def test_own_parameters_count_for_one_call_only(name: str, backend: Backend) -> None:
    one, given_ = model(name, backend), feeds(name, 7, seed=2)
    before = one.predict(given_)
    first = bundle(name).spec.parameters[-1].name
    other = {first: bundle(name).weights()[first] + np.float32(0.5)}
    changed = one.predict({**given_, **other})
    assert not np.array_equal(changed, before)
    bare = Predictor(bundle(name).read("predict.onnx"))({**bundle(name).weights(), **other}, given_)
    agrees(changed, bare)
    assert one.predict(given_).tobytes() == before.tobytes()


def wrong(name: str, how: str) -> dict[str, Array]:
    """Feeds with one thing wrong in the first input, or in a parameter."""
    given_ = feeds(name, 3, seed=3)
    first = next(iter(given_))
    value = given_[first]
    own = bundle(name).spec.parameters[0].name
    match how:
        case "missing":
            del given_[first]
        case "unknown name":
            given_["stranger"] = value
        case "float64":
            given_[first] = value.astype(np.float64)
        case "int32":
            given_[first] = value.astype(np.int32)
        case "rank up":
            given_[first] = value[None]
        case "scalar":
            given_[first] = np.asarray(value.flat[0])
        case "parameter of another dtype":
            given_[own] = bundle(name).weights()[own].astype(np.float64)
        case "parameter of another rank":
            given_[own] = bundle(name).weights()[own][None]
    return given_


@every
def test_fewer_bytes_are_the_same_model_within_what_rounding_costs(name: str, backend: Backend) -> None:
    plain, _, storage = name.partition("/")
    if not storage:
        pytest.skip("it is the plain one")
    given_ = feeds(name, 64, seed=8)
    whole, fewer = model(plain, backend).predict(given_), model(name, backend).predict(given_)
    spread = float(whole.max() - whole.min()) or 1.0
    assert float(np.abs(whole - fewer).max()) <= (0.02 if storage == "float16" else 0.25) * spread


WRONG = (
    "missing",
    "unknown name",
    "float64",
    "int32",
    "rank up",
    "scalar",
    "parameter of another dtype",
    "parameter of another rank",
)


@every
@pytest.mark.parametrize("how", WRONG)
def test_wrong_feeds_are_refused_by_name_and_leave_the_model_as_it_was(name: str, backend: Backend, how: str) -> None:
    one, good = model(name, backend), feeds(name, 4, seed=4)
    before = one.predict(good)
    with pytest.raises(FeedRefused) as refused:
        one.predict(wrong(name, how))
    assert bundle(name).spec.name in refused.value.what
    assert one.predict(good).tobytes() == before.tobytes()


@every
def test_a_row_of_another_width_is_refused(name: str, backend: Backend) -> None:
    given_ = features(name)
    if given_ is None:
        pytest.skip("it takes no features")
    good = feeds(name, 3)
    for width in (given_.shape[1] + 1, given_.shape[1] - 1):
        with pytest.raises(FeedRefused):
            model(name, backend).predict({**good, given_.name: np.zeros((3, width), np.float32)})


@every
def test_a_candidate_that_is_not_in_the_catalogue_is_refused(name: str, backend: Backend) -> None:
    candidate = next((one for one in bundle(name).spec.inputs if one.from_ == "candidate"), None)
    if candidate is None:
        pytest.skip("it takes no candidates")
    items = len(bundle(name).catalogue())
    for number in (items, 2**31, -items - 1, -(2**40)):
        with pytest.raises(FeedRefused):
            model(name, backend).predict({**feeds(name, 1), candidate.name: np.array([number], np.int64)})


@every
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.finfo(np.float32).max, np.finfo(np.float32).tiny])
def test_a_number_that_is_none_spoils_only_its_own_row(name: str, backend: Backend, value: float) -> None:
    given_ = features(name)
    if given_ is None or is_sequence(given_):
        pytest.skip("it takes no numbers")
    clean = feeds(name, 5, seed=5)
    dirty = {key: rows.copy() for key, rows in clean.items()}
    dirty[given_.name][2] = np.float32(value)
    scores, known = model(name, backend).predict(dirty), model(name, backend).predict(clean)
    others = [0, 1, 3, 4]
    agrees(scores[others], known[others])
    if np.isnan(value):
        assert np.isnan(scores[2])
    elif bundle(name).spec.task == "probability" and not np.isnan(scores[2]):
        assert 0.0 <= scores[2] <= 1.0


def test_models_side_by_side_do_not_disturb_each_other() -> None:
    chosen = built()
    alone = [model(name, backend).predict(feeds(name, 9, seed=6)).tobytes() for name, backend in chosen]
    mixed = [(name, load_model(path_of(name), backend)) for name, backend in chosen]
    for _ in range(3):
        assert [m.predict(feeds(name, 9, seed=6)).tobytes() for name, m in mixed] == alone
        for name, m in reversed(mixed):
            m.predict(feeds(name, 2, seed=7))
