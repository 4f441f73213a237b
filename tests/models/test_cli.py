"""`edge-models` as people and scripts use it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models import archive
from tests.models.sample import taste_ratings, zoo_path

PROGRAM = Path(sys.executable).parent / "edge-models"


def run(*words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr + done.stdout
    return done


def test_help_starts_without_numpy_or_onnxruntime() -> None:
    code = (
        "import sys; from models.cli import main; main(['--help'], standalone_mode=False);"
        "sys.exit(bool({'onnxruntime', 'numpy', 'torch', 'tensorflow', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "edge-models build affinity --ratings" in done.stdout


@pytest.mark.parametrize("command", ["build", "inspect", "check", "export", "ls"])
def test_every_command_has_help(command: str) -> None:
    assert "Usage: edge-models" in run(command, "--help").stdout


def test_building_needs_neither_torch_nor_tensorflow(tmp_path: Path) -> None:
    done = json.loads(run("build", "context", "--out", tmp_path, "--json").stdout)
    assert Path(done["bundle"]).name == "context-1.0.0.edgeward"
    assert done["figures"]["accuracy"] > 0.97
    assert run("check", done["bundle"]).stdout.strip().endswith("ok")


def test_ratings_of_ones_own_become_a_bundle(tmp_path: Path) -> None:
    ratings = taste_ratings(tmp_path / "mine.csv")
    out = tmp_path / "affinity-2.1.0.edgeward"
    run(
        *("build", "affinity", "--ratings", ratings, "--exclude-users", "p1, p2", "--version", "2.1.0"),
        *("--licence", "CC0-1.0", "--epochs", "2", "--out", out),
    )
    shown = json.loads(run("inspect", out, "--json").stdout)
    assert (shown["spec"]["version"], shown["spec"]["licence"]) == ("2.1.0", "CC0-1.0")
    card = run("inspect", out, "--card").stdout
    assert "edge-models build affinity --ratings mine.csv --exclude-users p1,p2 --epochs 2" in card
    assert str(tmp_path) not in card


def test_inspect_shows_what_is_shared_and_what_is_personal() -> None:
    shown = run("inspect", zoo_path("affinity")).stdout
    assert "shared      item_embedding float32 [34, 16]" in shown
    assert "personal    user_vector float32 [16]" in shown
    assert "34 items" in shown


def test_ls_lists_the_shipped_bundles() -> None:
    assert [row["name"] for row in json.loads(run("ls", "--json").stdout)] == [
        "affinity",
        "context",
        "propensity",
        "segment",
    ]


def test_a_damaged_bundle_exits_1_with_code_and_fix(tmp_path: Path) -> None:
    raw = bytearray(zoo_path("context").read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged = tmp_path / "damaged.edgeward"
    damaged.write_bytes(raw)
    done = run("check", damaged, zoo_path("affinity"), status=1)
    assert "[MOD101]" in done.stderr
    assert "fix:" in done.stderr
    assert f"{zoo_path('affinity')}: ok" in done.stdout
    assert "error: [MOD101]" in run("inspect", damaged, status=1).stderr
    found = json.loads(run("check", "--json", damaged, status=1).stdout)
    assert found[str(damaged)][0]["code"] == "MOD101"


def test_a_file_that_is_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    stranger = tmp_path / "photos.zip"
    stranger.write_bytes(archive.pack({"a.jpg": b"x"}))
    assert "no edgeward bundle" in run("inspect", stranger, status=1).stderr


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["build"], "--all"),
        (["build", "context", "--all"], "--all"),
        (["build", "contxt"], "'affinity'"),
        (["build", "context", "--users", "1"], "belong to"),
        (["build", "affinity", "--users", "1"], "need --ratings"),
        (["build", "context", "--out", "absent"], "does not exist"),
        (["check"], "PATHS"),
        (["ls", "absent"], "does not exist"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_right(words: list[str], word: str) -> None:
    assert word in run(*words, status=2).stderr


def test_a_wrong_line_of_ratings_is_named(tmp_path: Path) -> None:
    ratings = tmp_path / "bad.csv"
    ratings.write_text("1,2,5,3\n1,2\n")
    assert "bad.csv, line 2" in run("build", "affinity", "--ratings", ratings, "--out", tmp_path, status=1).stderr


def test_exporting_without_torch_names_the_extra(tmp_path: Path) -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        done = run("export", "affinity", "--out", tmp_path, status=2)
        assert "edgeward[build]" in done.stderr
    else:
        pytest.skip("torch is installed here")
