"""A bundle says what it costs: in its card when it is built, and here and now when it is inspected."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from models.build import Options, build_bundle
from models.bundle import open_bundle
from models.cli import main
from models.cost import cost_of, lines
from models.zoo import SHIPPED
from tests.models.sample import zoo_path


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_card_states_bytes_memory_and_time(name: str) -> None:
    card = open_bundle(zoo_path(name)).read("card.md").decode()
    for words in ("## Cost", "Weights in memory", "resident memory", "µs a prediction", "µs a training step"):
        assert words in card


def test_cost_counts_the_files_and_the_weights_as_they_are() -> None:
    bundle = open_bundle(zoo_path("context"))
    cost = cost_of(bundle)
    assert cost.bytes == zoo_path("context").stat().st_size
    assert cost.weights_bytes == 4 * sum(value.size for value in bundle.weights().values())
    assert cost.predict_us > 0.0
    assert cost.train_step_us is not None
    assert len(lines(cost)) == 5


def test_inspect_states_the_cost_here() -> None:
    path = str(zoo_path("segment"))
    said = CliRunner().invoke(main, ["inspect", path]).output
    assert "µs a prediction" in said
    assert "weights in float32" in said
    document = json.loads(CliRunner().invoke(main, ["inspect", path, "--json"]).output)
    assert document["cost"]["bytes"] == document["bytes"]
    assert document["storage"] == "float32"


def test_a_build_that_measures_nothing_repeats_to_the_byte(tmp_path: Path) -> None:
    first, second = (build_bundle("context", Options(), tmp_path / f"{n}.edgeward", "again").path for n in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    measured = build_bundle("context", Options(measured_on="a bench"), tmp_path / "3.edgeward", "again").path
    assert "Measured on a bench" in open_bundle(measured).read("card.md").decode()
    assert open_bundle(measured).read("weights.npz") == open_bundle(first).read("weights.npz")
