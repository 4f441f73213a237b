"""A bundle that looks at the last items runs in the real agent: sequences served, decisions and examples out."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.decide import decision
from edge_agent.effects import Append
from edge_agent.infer.bundle import load_model
from edge_agent.infer.model import LoadedModel
from edge_agent.learn import examples
from firmware_configs.messages import Request, Topics
from models.build import Options, build_bundle
from models.bundle import open_bundle
from models.session import Predictor
from models.zoo import sequence
from tests.edge_agent.house import DEVICE, HOME, PERSON, House
from tests.models.test_zoo_sequence import chain_ratings

PROFILE = HOME.replace('"affinity"', '"sequence-attention"')


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Trained on people who touch item k + 1 after item k."""
    folder = tmp_path_factory.mktemp("sequence")
    options = Options(ratings=chain_ratings(folder / "chain.csv"), epochs=35)
    return load_model(build_bundle("sequence-attention", options, folder, "edge-models build").path)


def lived(model: LoadedModel, numbers: list[int]) -> House:
    """A house where one person touched these items, a second apart."""
    house = House(PROFILE, (model, "context")).everyone_agrees()
    for at, number in enumerate(numbers):
        house.now += 1_000
        house.tell(house.pick(at, f"i{number}"))
    return house


def test_the_last_items_of_a_person_decide_what_comes_next(model: LoadedModel) -> None:
    """Asked for the best of the untouched, the agent proposes the item that follows."""
    hits = []
    for start in range(0, 20, 2):
        numbers = [(start + at) % 20 for at in range(8)]
        house = lived(model, numbers)
        fresh = tuple(item for item in model.catalogue if int(item[1:]) not in numbers)
        request = msgspec.msgpack.encode(Request(subject=PERSON, items=fresh))
        house.tell(house.message(Topics(DEVICE).of("request", "shelf"), request, response_topic="reply/1"))
        made = house.decisions()[-1]
        assert made.placement == "shelf"
        assert made.bundles == {"sequence-attention": "1.0.0"}
        hits.append(made.items[0] == f"i{(start + 8) % 20}")
    assert np.mean(hits) >= 0.8


def test_what_is_served_is_what_the_model_was_trained_on(model: LoadedModel) -> None:
    """The agent's scores equal the graph's on the sequence as `models.zoo.sequence` makes it."""
    numbers = [3, 4, 5, 6, 7]
    house = lived(model, numbers)
    rows = np.array([model.index[f"i{number}"] for number in numbers])
    trail = [e for e in house.effects if isinstance(e, Append) and e.shelf == "decision"][-1]
    served = decision.unpack(trail.value).features["recent"]
    assert served == sequence.before(rows, len(rows)).tolist()
    given: dict[str, NDArray[Any]] = {"recent": np.array([served], np.float32), "item": np.arange(len(model.catalogue))}
    bundle = open_bundle(Path(model.path))
    want = Predictor(bundle.read("predict.onnx"))(bundle.weights(), given)
    repeated = {"recent": given["recent"].repeat(len(want), 0), "item": given["item"]}
    np.testing.assert_allclose(model.predict(repeated), want, atol=1e-5)


def test_an_interaction_is_learned_from_what_came_before_it(model: LoadedModel) -> None:
    house = lived(model, [3, 4, 5])
    kept = [
        examples.unpack(e.value)
        for e in house.effects
        if isinstance(e, Append) and e.shelf == "example" and e.group == "sequence-attention"
    ]
    assert [one.item for one in kept] == ["i3", "i4", "i5"]
    rows = np.array([model.index[f"i{number}"] for number in (3, 4, 5)])
    assert [one.features["recent"] for one in kept] == [sequence.before(rows, at).tolist() for at in range(3)]


def test_sequences_survive_a_restart(model: LoadedModel) -> None:
    straight, stopped = lived(model, [3, 4, 5]), lived(model, [3, 4])
    stopped.restart()
    stopped.now += 1_000
    stopped.tell(stopped.pick(2, "i5"))
    assert stopped.decisions()[-1].items == straight.decisions()[-1].items
