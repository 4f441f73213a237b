"""Two bundles side by side: the same rows, the same people, and no difference where there is none."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from models import held_out
from models.build import Options, build_bundle
from models.bundle import Bundle, open_bundle, write_bundle
from models.compare import compare
from models.errors import SpecInvalid
from models.plot import save_plot
from models.spec import Calibration
from models.zoo.affinity_recent import recent_rows
from tests.models.sample import parts, taste_ratings, zoo_path

PROGRAM = Path(sys.executable).parent / "edge-models"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle, Bundle]:
    """Ratings, a bundle that has learned tastes, and one that has hardly begun."""
    folder = tmp_path_factory.mktemp("pair")
    ratings = taste_ratings(folder / "ratings.csv")
    made = [
        build_bundle("affinity-recent", Options(ratings=ratings, epochs=epochs, version=version), folder, "build")
        for epochs, version in ((60, "1.0.0"), (1, "1.0.1"))
    ]
    return ratings, open_bundle(made[0].path), open_bundle(made[1].path)


def test_a_bundle_is_no_better_than_itself() -> None:
    context = open_bundle(zoo_path("context"))
    found = compare(context, context, None, 0, personal=False)
    assert all((line.difference.value, line.better) == (0.0, "") for line in found.lines)
    assert found.n == 2665


def test_a_spoiled_calibration_shows_where_it_must_and_only_there(tmp_path: Path) -> None:
    spec, files = parts("context")
    spoiled = replace(spec, version="1.0.1", calibration=Calibration(method="platt", scale=0.05))
    found = compare(
        open_bundle(zoo_path("context")), open_bundle(write_bundle(tmp_path, spoiled, files)), None, 0, personal=False
    )
    better = {line.measure: line.better for line in found.lines}
    assert better == {"accuracy": "", "log loss": "a", "Brier score": "a"}


def test_more_training_on_tastes_is_seen_by_every_measure(pair: tuple[Path, Bundle, Bundle]) -> None:
    ratings, trained, begun = pair
    found = compare(trained, begun, ratings, 0, personal=False)
    assert found.n == 60
    assert {line.better for line in found.lines} == {"a"}
    assert compare(trained, begun, ratings, 0, personal=False).lines == found.lines


def test_a_personal_part_is_trained_on_the_own_history_alone(pair: tuple[Path, Bundle, Bundle]) -> None:
    _, trained, _ = pair
    person = held_out.Person(trained)
    own = person.personalised(np.array([0, 2, 4]), [0, 0])
    assert set(own) == {"user_vector", "user_bias"}
    assert own["user_vector"].any()
    everything = np.arange(len(trained.catalogue()))
    assert not np.array_equal(
        person.scores(np.array([0, 2, 4]), everything, own), person.scores(np.array([0, 2, 4]), everything, {})
    )


def test_sequences_are_those_that_training_saw() -> None:
    history = np.array([5, 3, 8])
    np.testing.assert_array_equal(held_out.before(history, 20)[:-1], recent_rows(history))
    assert held_out.before(history, 2)[-1].tolist() == [4.0, 9.0]
    assert held_out.before(np.zeros(0, np.int64), 2).tolist() == [[0.0, 0.0]]


def test_bundles_that_answer_different_questions_are_refused(pair: tuple[Path, Bundle, Bundle]) -> None:
    ratings, ranker, _ = pair
    context = open_bundle(zoo_path("context"))
    with pytest.raises(SpecInvalid, match="different questions"):
        compare(context, ranker, None, 0, personal=False)
    with pytest.raises(SpecInvalid, match="interactions alone"):
        compare(context, ranker, ratings, 0, personal=False)


def test_the_command_prints_a_table_and_saves_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    words = [PROGRAM, "compare", zoo_path("context"), zoo_path("context"), "--plot", tmp_path / "difference.png"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no difference seen" in done.stdout
    assert (tmp_path / "difference.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_comparison_draws_the_same_svg(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    context = open_bundle(zoo_path("context"))
    found = compare(context, context, None, 0, personal=False)
    for name in ("a.svg", "b.svg"):
        save_plot(found, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_plot_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    words = [PROGRAM, "compare", zoo_path("context"), zoo_path("context"), "--plot", tmp_path / "a.gif"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert ".svg" in done.stderr
