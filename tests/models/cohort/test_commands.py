"""`edge-models cohort` from the command line: from ratings to a file, to new people, to a bundle, to a verdict."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from models.cli import main
from models.cohort.sampling import write
from tests.models.cohort.town import town


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(town(120, couples=True), tmp_path_factory.mktemp("town"))[0]


def test_from_ratings_to_a_bundle_of_people_who_do_not_exist(ratings: Path, tmp_path: Path) -> None:
    out, homes = tmp_path / "town.cohort", ratings.with_name("households.csv")
    given = ["--ratings", str(ratings), "--households", str(homes), "--topics", "4", "--out", str(out)]
    done = call("cohort", "fit", *given, "--json")
    assert done.exit_code == 0, done.output
    card = json.loads(done.stdout)["card"]
    assert (card["people"], card["households"], card["data"]) == (120, True, "ratings.csv")
    assert str(tmp_path) not in done.stdout.replace(str(out), "")
    assert "No differential privacy" in call("cohort", "show", str(out)).output
    drawn = call(
        "cohort", "sample", str(out), "--people", "25", "--seed", "1", "--out", str(tmp_path / "new"), "--json"
    )
    assert json.loads(drawn.stdout)["people"] == 25
    moved = ["cohort", "sample", str(out), "--people", "5", "--out", str(tmp_path / "moved"), "--start", "2031-02-05"]
    assert call(*moved).exit_code == 0
    first = min(json.loads(line)["time"] for line in (tmp_path / "moved" / "events.jsonl").read_text().splitlines())
    assert first >= datetime(2031, 2, 3, tzinfo=UTC).timestamp(), "the Monday of that week"
    built = call(
        "build", "affinity", "--ratings", str(tmp_path / "new" / "ratings.csv"), "--epochs", "1", "--out", str(tmp_path)
    )
    assert built.exit_code == 0, built.output


def test_a_check_ends_with_a_verdict_and_an_exit_code(ratings: Path) -> None:
    given = ["cohort", "check", "--ratings", str(ratings), "--no-use", "--seeds", "1", "--topics", "3", "--kinds", "1"]
    done = call(*given, "--auc-max", "1.0")
    assert done.exit_code == 0, done.output
    assert "passed: membership AUC" in done.output
    assert "halves of the real" in done.output
    strict = call(*given, "--auc-max", "0.5", "--times", "2", "--members", "0.6", "--json")
    assert strict.exit_code in (0, 1)
    report = json.loads(strict.stdout)
    assert (report["times"], report["members"]) == (2, 0.6)


def test_folds_leave_nothing_for_seeds_and_shares_to_say(ratings: Path) -> None:
    given = ["cohort", "check", "--ratings", str(ratings), "--no-use", "--folds", "4", "--topics", "3", "--kinds", "1"]
    refused = call(*given, "--members", "0.6")
    assert refused.exit_code == 2
    assert "leave out --members" in refused.output
    told = call(*given, "--auc-max", "1.0")
    assert told.exit_code == 0, told.output
    assert "95 % over folds" in told.output


def test_people_are_drawn_by_a_model_where_that_is_asked(ratings: Path, tmp_path: Path) -> None:
    out = tmp_path / "town.cohort"
    given = ["--ratings", str(ratings), "--by", "model", "--order", "0.8", "--topics", "2", "--out", str(out)]
    done = call("cohort", "fit", *given)
    assert done.exit_code == 0, done.output
    assert "a model of 32 dimensions" in done.output
    assert "--by model" in done.output
    assert "--rank 8 --groups 48 --order 0.8 --liking 0.7" in done.output
    assert "may be remembered" in call("cohort", "show", str(out)).output
    assert call("cohort", "sample", str(out), "--people", "5", "--out", str(tmp_path / "new")).exit_code == 0


def test_help_says_which_cohort_is_meant() -> None:
    assert "do not exist" in call("cohort", "--help").output


def test_what_is_no_generator_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no.cohort"
    path.write_bytes(b"no")
    done = call("cohort", "show", str(path))
    assert done.exit_code == 1
    assert "MOD113" in done.output
    assert "fix:" in done.output
    assert call("cohort", "show", str(tmp_path / "nowhere")).exit_code == 1


def test_without_scikit_learn_the_extra_is_named(
    ratings: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    done = call("cohort", "fit", "--ratings", str(ratings), "--out", str(tmp_path / "x"))
    assert done.exit_code == 2
    assert "edgeward[cohort]" in done.output
