"""The leave-one-out benchmark on a small file with a known truth."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bench import ml_100k, references
from models.errors import DatasetInvalid
from tests.models.sample import taste_ratings

PROGRAM = Path(sys.executable).parent / "edge-models"


def test_the_command_prints_one_document_with_the_published_table_beside_it(tmp_path: Path) -> None:
    ratings = taste_ratings(tmp_path / "mine.csv", people=20, items=40)
    done = subprocess.run(
        [PROGRAM, "bench", "ml-100k", "--ratings", ratings, "--seeds", "2", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"hr10", "ndcg10", "hr10_sd", "ndcg10_sd", "seconds", "protocol", "seeds", "table", "centralised"} <= set(
        report
    )
    assert 0.0 <= report["ndcg10"] <= report["hr10"] <= 100.0
    assert (report["clients"], report["items"], report["seeds"]) == (20, 40, [0, 1])
    kinds = {row["name"]: row["kind"] for row in report["table"]}
    assert kinds["GPFedRec"] == "reported"
    assert {row["name"] for row in report["centralised"]} >= {"popularity", "EASE"}


def test_ids_are_any_text_and_separators_any_of_three(tmp_path: Path) -> None:
    ratings = taste_ratings(tmp_path / "comma.csv", people=8, items=30)
    want = ml_100k.run(ratings, [0], validation=False, compared=False, progress=lambda _line: None)
    for separator in ("\t", "::"):
        other = tmp_path / "other.dat"
        other.write_text(
            "user,item,rating,time\n".replace(",", separator) + ratings.read_text().replace(",", separator)
        )
        got = ml_100k.run(other, [0], validation=False, compared=False, progress=lambda _line: None)
        assert (got.hr10, got.ndcg10, got.clients) == (want.hr10, want.ndcg10, want.clients)


def test_a_file_in_which_nothing_can_be_held_out_is_refused(tmp_path: Path) -> None:
    alone = tmp_path / "alone.csv"
    alone.write_text("a,x,5,1\nb,y,5,1\n")
    with pytest.raises(DatasetInvalid, match="nobody"):
        ml_100k.run(alone, [0], validation=False, compared=False, progress=lambda _line: None)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["Ann", "b-2", "7", "ü"]), st.sampled_from("12345678"), st.integers(0, 9)),
        min_size=1,
        max_size=40,
    )
)
def test_any_interactions_are_measured_or_refused_by_name(rows: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.csv"
        path.write_text("".join(f"{user},{item},1,{time}\n" for user, item, time in rows))
        try:
            report = ml_100k.run(path, [0], validation=False, compared=True, progress=lambda _line: None)
        except DatasetInvalid as error:
            assert "nobody" in str(error)
            return
    for row in (*report.table, *report.centralised):
        assert 0.0 <= row.hr10 <= 100.0
        assert row.full_mrr is None or 0.0 < row.full_mrr <= 100.0


def test_too_many_scores_are_refused_before_memory_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ml_100k, "SCORES_MAX", 10)
    with pytest.raises(DatasetInvalid, match="sample the people"):
        ml_100k.run(taste_ratings(tmp_path / "a.csv"), [0], validation=False, compared=False, progress=print)


def test_validation_never_sees_the_test_item(tmp_path: Path) -> None:
    """Other last items, the same validation figures."""
    ratings = taste_ratings(tmp_path / "a.csv", people=12, items=30)
    lines = ratings.read_text().splitlines()
    newest = {line.split(",")[0]: at for at, line in enumerate(lines)}
    swapped = [line for at, line in enumerate(lines)]
    for user, at in newest.items():
        own = {line.split(",")[1] for line in lines if line.startswith(f"{user},")}
        other = next(f"i{n}" for n in range(30) if f"i{n}" not in own)
        swapped[at] = ",".join([user, other, *lines[at].split(",")[2:]])
    changed = tmp_path / "b.csv"
    changed.write_text("\n".join(swapped) + "\n")
    scores = [ml_100k.scored(path, 0, validation=True)[0] for path in (ratings, changed)]
    np.testing.assert_array_equal(*scores)


def test_the_linear_reference_finds_items_that_always_come_together() -> None:
    matrix = np.zeros((40, 6), np.float32)
    matrix[:20, :3] = matrix[20:, 3:] = 1.0
    asked = np.zeros((1, 6), np.float32)
    asked[0, 0] = 1.0
    score = references.ease(matrix, asked, ridge=1.0)[0]
    assert score[1:3].min() > score[3:].max()


def test_matrix_factorisation_learns_two_kinds_of_people() -> None:
    histories = [np.arange(n % 2, 20, 2)[(np.arange(10) + n) % 10 < 7] for n in range(30)]
    score = references.matrix_factorisation(histories, 20, seed=0, dimensions=4, epochs=60, batch=256)
    even = score[::2]
    assert even[:, ::2].mean() > even[:, 1::2].mean() + 1.0
